#include "engine/residency/missing_parts.h"

#include <algorithm>
#include <utility>

#include "engine/base/listing.h"
#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/residency/noise_level.h"
#include "engine/residency/part_kinds.h"
#include "engine/residency/part_paths.h"
#include "models/files/foreign.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Why a file cannot be read, without the name in front and the way out behind it.
std::string reason(const ModelError& broken) {
  return shown_text(broken.text.substr(0, broken.text.rfind("; ")), 200);
}

/// "x.gguf (image-to-video transformer)".
std::string described(const ModelPart& part, const RecognisedFile& file) {
  const bool expert = file.network.model == Model::TextExpert || file.network.model == Model::ImageExpert;
  std::string what = !file.broken ? file.network.name : "cannot be read: it " + reason(*file.broken);
  if (expert && !noise_level(part)) what += " whose name " + without_level(part);
  return shown_text(part.name, 120) + " (" + what + ")";
}

/// The checkpoints that were looked at: those first that cannot be read, then those of which more is known.
std::string others(const FolderScan& scan, RecognisedFiles& files) {
  std::vector<std::string> known, foreign, unknown;
  for (const ModelPart& part : scan.checkpoints) {
    const RecognisedFile& file = files.at(part.path);
    const bool is_unknown = file.network.other == Other::Unknown;
    (file.broken ? known : is_unknown ? unknown : foreign).push_back(described(part, file));
  }
  known.insert(known.end(), foreign.begin(), foreign.end());
  known.insert(known.end(), unknown.begin(), unknown.end());
  if (known.empty()) return "";
  return "; there are " + listed(std::move(known));
}

std::string some(std::vector<std::string> names) {
  for (std::string& name : names) name = shown_text(name, 80);
  return listed(std::move(names));
}

std::string looked_in(const FolderScan& scan) {
  std::vector<std::string> folders;
  for (const std::string& folder : scan.looked_in)
    if (folder != "." && folders.size() < kListedNames) folders.push_back(shown_text(folder, 80));
  std::string text = folders.empty() ? "" : "; looked in " + either(folders, " and ");
  if (!scan.unlisted.empty()) text += "; cannot look into " + listed(scan.unlisted);
  if (!scan.too_deep.empty())
    text += "; not looked into " + some(scan.too_deep) + ", more than " + std::to_string(kDeepest) + " folders deep";
  return text + (scan.cut ? "; more lies there than is looked at" : "");
}

std::string unfinished(const MissingParts& missing, const fs::path& root) {
  for (Network network : missing.networks)
    if (const std::string file = unfinished_download(root / official_name(network)); !file.empty())
      return "; a download is unfinished: " + file;
  return "";
}

}  // namespace

std::string unreadable_remark(const FolderScan& scan, const ModelParts& taken, RecognisedFiles& files) {
  const auto is_taken = [&](const ModelPart& part) {
    return std::any_of(taken.networks.begin(), taken.networks.end(),
                       [&](const auto& network) { return is_same(network.second.path, part.path); });
  };
  std::vector<std::string> names;
  for (const ModelPart& part : scan.checkpoints)
    if (is_taken(part))
      continue;
    else if (const std::optional<ModelError>& broken = files.at(part.path).broken)
      names.push_back(shown_text(part.name, 120) + " (" + reason(*broken) + ")");
  return names.empty() ? "" : "cannot be read and left out: " + listed(std::move(names));
}

std::string left_out_remark(const std::string& name, const std::vector<std::string>& networks) {
  std::string text;
  for (const std::string& network : networks) text += (text.empty() ? "" : ", ") + printable(network);
  return shown_text(name, 120) + " holds other networks as well, which are not used: " + text;
}

ModelError missing_error(const MissingParts& missing, const fs::path& root, Task task, const FolderScan& scan,
                         RecognisedFiles& files) {
  std::vector<std::string> parts, flags, members;
  for (Network network : missing.networks) {
    members.push_back(field_of(network));
    parts.push_back(std::string("the ") + name(network) + " (" + official_name(network) + " or a file of any name)");
    flags.push_back(flag_of(network) + " FILE");
  }
  if (missing.tokenizer) {
    parts.push_back("the tokenizer (a folder google/umt5-xxl, or inside the text encoder)");
    flags.push_back(find_parameter("tokenizer")->flag() + " DIR");
    members.push_back("tokenizer");
  }
  const std::string in_set = missing.set.empty() ? "" : either(members, " and ") + " in set " + missing.set + ", or ";
  const std::string list = either(parts, " and "), way = "; " + in_set + either(flags, " and ") +
                                                         (flags.size() == 1 ? " names it" : " name them") +
                                                         ", weights.md lists what " + task_name(task) + " needs";
  std::error_code ignored;
  if (!root.empty() && !fs::is_directory(root, ignored))
    return {root.string(),
            "must be a whole model, is one file: " + described({root, root.filename().string(), ""}, files.at(root)) +
                "; it lacks " + list + way};
  if (root.empty()) return {missing.set.empty() ? "model" : missing.set, "lacks " + list + way};
  return {root.string(), "lacks " + list + others(scan, files) + looked_in(scan) + unfinished(missing, root) + way};
}

}  // namespace wan
