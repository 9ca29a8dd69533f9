#include "engine/residency/inspect.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "engine/residency/inspect_folder.h"
#include "engine/residency/inspect_network.h"
#include "engine/residency/inspect_parts.h"
#include "engine/residency/inspect_render.h"
#include "engine/residency/inspect_safety.h"
#include "engine/residency/inspect_sets.h"
#include "engine/residency/part_paths.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

Inspection inspect_folder(const fs::path& root, const std::string& path) {
  RecognisedFiles files;
  std::vector<fs::path> paths;
  Inspection inspection = list_folder(root, paths, files);
  inspection.path = path;
  refuse_unreadable(inspection, root);
  const bool one_network = paths.size() == 1 && inspection.networks[0].name == ".";
  const bool may_be_whole = !one_network || inspection.networks[0].model == Model::Speech;
  std::vector<Task> tasks = may_be_whole ? tasks_of(inspection) : std::vector<Task>();
  // A render takes an expert at its usual place, whatever the listing saw: it ends at a number of files, and where folders
  // of ComfyUI's lie beside it lists these alone.
  for (const auto& [task, model] : {std::pair(Task::T2V, Model::TextExpert), std::pair(Task::I2V, Model::ImageExpert)})
    if (const fs::path expert = root / "high_noise_model"; may_be_whole && is_folder(expert) &&
                                                           std::ranges::find(tasks, task) == tasks.end() &&
                                                           files.at(expert).network.model == model)
      tasks.push_back(task);
  tell_model(tasks, root.string(), "", paths, files, inspection);
  if (paths.size() == 1) inspection.kind = inspection.networks[0].kind;
  if (paths.size() > 1 && inspection.tasks.empty())
    add_remark(inspection,
               "no transformer that can be read is there: t2v, v2v and i2v need two experts, s2v a speech transformer");
  return inspection;
}

/// A file, or a folder of one network.
Inspection inspect_file(const fs::path& file, const std::string& path) {
  Inspection inspection;
  inspection.path = path;
  inspection.networks.push_back(inspect_network({file, ".", ""}));
  tell_left_out(inspection);
  inspection.kind = inspection.networks[0].kind;
  return inspection;
}

}  // namespace

Inspection inspect(const fs::path& path, const std::string& models) {
  if (!is_there(path) && closed_to_us(path).empty()) {
    const std::map<std::string, ModelSet> sets = read_sets(models);
    const auto set = sets.find(path.string());
    if (set != sets.end()) return inspect_set(set->first, set->second, models);
    throw no_such_model(path.string(), sets, "inspect takes a folder, a file or the name of a set");
  }
  const fs::path whole = without_slash(path);  // a trailing separator would count as a name
  if (whole.extension() == ".json" && !is_folder(whole)) return inspect_sets(whole);
  const std::string shown = shown_name(path.string());
  return is_folder(whole) && !is_safety_folder(whole) ? inspect_folder(whole, shown) : inspect_file(whole, shown);
}

}  // namespace wan
