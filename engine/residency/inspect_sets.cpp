#include "engine/residency/inspect_sets.h"

#include <system_error>

#include "engine/request/params.h"
#include "engine/residency/inspect_network.h"
#include "engine/residency/inspect_parts.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

InspectedSet listed(const std::string& name, const ModelSet& set) {
  InspectedSet entry{
      name, set.task ? task_name(*set.task) : "", set.model.empty() ? "" : shown_name(set.model), {}, set.wrong};
  for (const auto& [field, path] : set.parts) entry.parts[field] = shown_name(path.string());
  return entry;
}

}  // namespace

Inspection inspect_sets(const fs::path& file) {
  Inspection inspection;
  inspection.path = shown_name(file.string());
  inspection.kind = "sets of models";
  for (const auto& [name, set] : read_sets(file.string())) inspection.sets.push_back(listed(name, set));
  return inspection;
}

Inspection inspect_set(const std::string& name, const ModelSet& set, const fs::path& file) {
  if (!set.wrong.empty()) throw ModelError(file.string(), set.wrong);
  Inspection inspection;
  std::error_code ignored;
  if (!set.model.empty() && fs::exists(set.model, ignored)) {
    inspection = inspect(set.model);
    for (InspectedNetwork& network : inspection.networks)
      if (set.parts.contains(network.part)) network.part = "", network.rule = "";  // the set's own goes before
  } else if (!set.model.empty()) {
    inspection.remarks.push_back("the set's folder " + shown_name(set.model) + " is not there");
  }
  inspection.path = name;
  const std::string rule = "set " + name;
  for (const auto& [field, path] : set.parts) {
    if (field == "tokenizer") {
      const bool there = fs::exists(path, ignored);
      const bool folder = fs::is_directory(path, ignored);
      if (!there) inspection.remarks.push_back("tokenizer " + shown_name(path.string()) + " is not there");
      if (there)
        inspection.files.push_back({shown_name(path.string()), folder ? 0 : fs::file_size(path, ignored), rule});
      continue;
    }
    InspectedNetwork network = inspect_or_tell({path, shown_name(path.string()), rule});
    network.part = field;
    network.rule = rule;
    inspection.networks.push_back(std::move(network));
  }
  if (inspection.networks.empty() && inspection.files.empty())
    throw ModelError(file.string(), "set '" + shown_text(name) + "' names nothing that is there");
  inspection.sets.push_back(listed(name, set));
  inspection.kind = model_kind(inspection, {});
  return inspection;
}

}  // namespace wan
