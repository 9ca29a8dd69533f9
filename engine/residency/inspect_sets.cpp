#include "engine/residency/inspect_sets.h"

#include <algorithm>
#include <cstdint>
#include <system_error>

#include "engine/request/params.h"
#include "engine/residency/inspect_folder.h"
#include "engine/residency/inspect_network.h"
#include "engine/residency/inspect_render.h"
#include "engine/residency/part_paths.h"
#include "engine/residency/parts.h"
#include "models/files/error.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

InspectedSet listed(const std::string& name, const ModelSet& set) {
  InspectedSet entry{
      name, set.task ? task_name(*set.task) : "", set.model.empty() ? "" : shown_name(set.model), {}, set.wrong};
  for (const auto& [field, path] : set.parts) entry.parts[field] = shown_name(path.string());
  return entry;
}

/// Bytes of a tokenizer: of a folder those of its visible files; 0 of a device.
uint64_t tokenizer_bytes(const fs::path& path) {
  std::error_code error;
  if (!is_folder(path)) {
    const uintmax_t bytes = fs::file_size(path, error);
    return error ? 0 : bytes;
  }
  uint64_t sum = 0;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code other;
    const uintmax_t bytes = entry->is_regular_file(other) && !is_hidden(entry->path()) ? entry->file_size(other) : 0;
    if (!other) sum += bytes;
  }
  return sum;
}

/// What is said of a path where nothing can be opened.
std::string absent(const fs::path& path) {
  const std::string closed = closed_to_us(path);
  if (!closed.empty()) return "not to be looked at: " + closed;
  return is_there(path) ? "no folder" : "not there";
}

void add_tokenizer(const fs::path& path, const std::string& rule, Inspection& inspection) {
  std::error_code error;
  const std::string name = shown_name(path.string());
  if (!fs::exists(path, error)) {
    inspection.remarks.push_back("tokenizer " + name + " is " + absent(path));
    return;
  }
  inspection.files.push_back({name, tokenizer_bytes(path), rule});
}

/// The tasks that have all parts which the set names.
std::vector<Task> tasks_with_parts(const ModelSet& set) {
  std::vector<Task> tasks;
  for (Task task : {Task::T2V, Task::I2V, Task::S2V}) {
    const std::vector<Network> networks = networks_of(task);
    const auto is_one = [&](const auto& part) {
      const auto has = [&](Network network) { return part.first == field_of(network); };
      return part.first == "tokenizer" || part.first == kInterpolatorPart || part.first == kSafetyPart ||
             std::any_of(networks.begin(), networks.end(), has);
    };
    if (std::all_of(set.parts.begin(), set.parts.end(), is_one)) tasks.push_back(task);
  }
  return tasks;
}

}  // namespace

Inspection inspect_sets(const fs::path& file) {
  Inspection inspection;
  inspection.path = shown_name(file.string());
  inspection.kind = "sets of models";
  for (const auto& [name, set] : read_sets(file.string())) inspection.sets.push_back(listed(name, set));
  return inspection;
}

Inspection inspect_set(const std::string& name, const ModelSet& set, const std::string& models) {
  const fs::path file = sets_file(models);
  if (!set.wrong.empty()) throw ModelError(file.string(), set.wrong);
  Inspection inspection;
  std::vector<fs::path> paths;
  RecognisedFiles files;
  if (is_folder(set.model))
    inspection = list_folder(set.model, paths, files);
  else if (!set.model.empty())
    inspection.remarks.push_back("the set's folder " + shown_name(set.model) + " is " + absent(set.model));
  inspection.path = name;
  const std::string rule = "set " + shown_text(name);
  for (const auto& [field, path] : set.parts) {
    if (field == "tokenizer") {
      add_tokenizer(path, rule, inspection);
      continue;
    }
    if (field == kInterpolatorPart && is_folder(path)) {
      inspection.files.push_back({shown_name(path.string()) + "/", 0, rule + ", interpolator"});
      continue;
    }
    if (field == kSafetyPart) {
      inspection.files.push_back({shown_name(path.string()) + "/", 0, rule + ", safety checker"});
      continue;
    }
    InspectedNetwork network = inspect_or_tell({path, shown_name(path.string()), rule}, files);
    for (InspectedNetwork& other : inspection.networks)  // the set's own goes before
      if (other.part == field) other.rule = "not used: " + shown_text(network.name, 120) + " is taken";
    network.part = field;
    network.rule = rule;
    inspection.networks.push_back(std::move(network));
    paths.push_back(path);
  }
  if (inspection.networks.empty() && inspection.files.empty()) {
    std::string remarks;
    for (const std::string& remark : inspection.remarks) remarks += (remarks.empty() ? ": " : ", ") + remark;
    throw ModelError(file.string(), "set '" + shown_text(name) + "' must name checkpoints, names none that is there" +
                                        remarks + "; its paths start at the file's folder");
  }
  refuse_unreadable(inspection, name);
  inspection.sets.push_back(listed(name, set));
  std::vector<Task> tasks = tasks_of(inspection);
  if (set.task) tasks = {*set.task == Task::V2V ? Task::T2V : *set.task};
  const bool told = !tasks.empty();
  tell_model(told ? tasks : tasks_with_parts(set), name, models, paths, files, inspection);
  if (!told) inspection.kind = "part of a model";  // which one, nothing that can be read says
  return inspection;
}

}  // namespace wan
