#include "engine/residency/inspect_folder.h"

#include <algorithm>
#include <span>
#include <system_error>

#include "engine/residency/folder_scan.h"
#include "engine/residency/inspect_network.h"
#include "engine/residency/inspect_parts.h"
#include "engine/residency/inspect_safety.h"
#include "engine/residency/part_kinds.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// The layout in which a network lies at the place of its part; elsewhere what the scan of the folder says. One that is
/// unreadable or not known is taken for what has its name there, but not for the speech transformer, whose place is the
/// folder itself.
std::string layout_of(const InspectedNetwork& network, const std::string& found_by, bool diffusers) {
  const auto has = [&](std::span<const UsualPlace> places) {
    return std::any_of(places.begin(), places.end(), [&](const UsualPlace& place) {
      const bool is_part = network.part.empty() ? network.name != "." : network.part == field_of(place.network);
      return is_part && network.name == place.path;
    });
  };
  if (has(official_places())) return kOfficialLayout;
  if (diffusers && has(diffusers_places())) return kDiffusersLayout;
  return found_by;
}

}  // namespace

Inspection list_folder(const fs::path& root, std::vector<fs::path>& paths, RecognisedFiles& files) {
  Inspection inspection;
  const FolderScan scan = scan_folder(root);
  std::error_code ignored;
  const bool diffusers = fs::exists(root / "model_index.json", ignored);
  std::vector<fs::path> encoders;
  for (const ModelPart& part : scan.checkpoints) {
    InspectedNetwork network = inspect_or_tell(part, files);
    const bool known = !network.part.empty() || network.why;
    const std::string rule = layout_of(network, part.rule, diffusers);
    network.rule = known || rule != part.rule ? rule : "";
    paths.push_back(part.path);
    if (network.part == field_of(Network::TextEncoder)) encoders.push_back(part.path);
    inspection.networks.push_back(std::move(network));
  }
  inspection.files = tokenizer_files(root, encoders);
  inspection.remarks = remarks_of(scan);
  return inspection;
}

void refuse_unreadable(const Inspection& inspection, const fs::path& subject) {
  constexpr size_t kMost = 10;
  std::string remarks;
  for (const std::string& remark : inspection.remarks) remarks += "; " + remark;
  if (inspection.networks.empty() && inspection.files.empty())
    throw ModelError(subject.string(),
                     "must hold checkpoints, holds none" + remarks + "; " +
                         (has_safety_config(subject) ? "docs/safety.md lists the files of a safety checker"
                                                     : "weights.md lists the files"));
  const auto readable = [](const InspectedNetwork& network) { return !network.why; };
  if (inspection.networks.empty() || std::any_of(inspection.networks.begin(), inspection.networks.end(), readable))
    return;
  std::vector<ModelError> errors;
  for (const InspectedNetwork& network : inspection.networks)
    if (errors.size() < kMost) errors.push_back(*network.why);
  if (const size_t all = inspection.networks.size(); all > kMost)
    errors.emplace_back(subject.string(),
                        "holds " + std::to_string(all - kMost) + " more that cannot be read" + remarks);
  else if (!remarks.empty())
    errors.emplace_back(subject.string(), "holds nothing else that can be read" + remarks);
  throw ModelErrors(errors);
}

}  // namespace wan
