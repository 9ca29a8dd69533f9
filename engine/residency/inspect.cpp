#include "engine/residency/inspect.h"

#include <algorithm>
#include <span>
#include <system_error>

#include "engine/residency/folder_scan.h"
#include "engine/residency/inspect_network.h"
#include "engine/residency/inspect_parts.h"
#include "engine/residency/inspect_sets.h"
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

Inspection inspect_folder(const fs::path& root) {
  Inspection inspection;
  const FolderScan scan = scan_folder(root);
  std::error_code ignored;
  const bool diffusers = fs::exists(root / "model_index.json", ignored);
  std::vector<fs::path> paths, encoders;
  for (const ModelPart& part : scan.checkpoints) {
    InspectedNetwork network = inspect_or_tell(part);
    const bool known = !network.part.empty() || !network.why.empty();
    const std::string rule = layout_of(network, part.rule, diffusers);
    network.rule = known || rule != part.rule ? rule : "";
    paths.push_back(part.path);
    if (network.part == field_of(Network::TextEncoder)) encoders.push_back(part.path);
    inspection.networks.push_back(std::move(network));
  }
  const auto unreadable = [](const InspectedNetwork& network) { return !network.why.empty(); };
  if (!paths.empty() && std::all_of(inspection.networks.begin(), inspection.networks.end(), unreadable))
    inspect_network(scan.checkpoints[0]);  // which throws
  inspection.files = tokenizer_files(root, encoders);
  const Several several = tell_several(paths, inspection);
  for (const std::string& remark : remarks_of(scan)) inspection.remarks.push_back(remark);
  inspection.kind = model_kind(inspection, several);
  return inspection;
}

}  // namespace

Inspection inspect(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(path, ignored))) {
    const std::map<std::string, ModelSet> sets = read_sets("");
    const auto set = sets.find(path.string());
    if (set != sets.end()) return inspect_set(set->first, set->second, sets_file(""));
    throw no_such_model(path.string(), sets, "inspect takes a folder, a file or the name of a set");
  }
  const fs::path whole = path.has_filename() ? path : path.parent_path();  // a trailing separator would count as a name
  if (whole.extension() == ".json" && !fs::is_directory(whole, ignored)) return inspect_sets(whole);
  Inspection inspection;
  if (fs::is_directory(whole, ignored)) {
    inspection = inspect_folder(whole);
  } else {
    inspection.networks.push_back(inspect_network({whole, ".", ""}));
    inspection.kind = model_kind(inspection, {});
  }
  inspection.path = shown_name(path.string());
  if (inspection.networks.empty() && inspection.files.empty())
    throw ModelError(path.string(), "must hold checkpoints, holds none; weights.md lists the files");
  return inspection;
}

}  // namespace wan
