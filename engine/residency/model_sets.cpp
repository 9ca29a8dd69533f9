#include "engine/residency/model_sets.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/params.h"
#include "engine/residency/parts.h"
#include "models/files/error.h"
#include "models/files/json.h"
#include "models/files/mapped_file.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

std::vector<std::string> part_fields() {
  std::vector<std::string> fields = {"tokenizer", kInterpolatorPart, kSafetyPart};
  for (Task task : {Task::T2V, Task::S2V})
    for (Network network : networks_of(task))
      if (std::find(fields.begin(), fields.end(), field_of(network)) == fields.end())
        fields.push_back(field_of(network));
  return fields;
}

class SetReader {
 public:
  explicit SetReader(fs::path file) : file_(std::move(file)) {}

  std::map<std::string, ModelSet> read() const {
    std::error_code ignored;
    if (fs::status(file_, ignored).type() == fs::file_type::not_found)
      throw ModelError(file_.string(),
                       "must be the file of named sets, is not there; write it, or name another with --models");
    const json all = read_written_json(*MappedFile::open(file_), {.unique_names = true});
    const auto sets = all.is_object() ? all.find("sets") : all.end();
    if (sets == all.end() || !sets->is_object())
      throw ModelError(file_.string(), R"(must be {"sets": {NAME: {"high_noise": FILE, ...}}}, has no object "sets"; )"
                                       "write the sets into one, or name another file");
    std::map<std::string, ModelSet> result;
    for (const auto& [name, members] : sets->items()) result[name] = set_of(name, members);
    return result;
  }

 private:
  ModelSet set_of(const std::string& name, const json& members) const {
    ModelSet set;
    try {
      read_members(name, members, set);
    } catch (const std::invalid_argument& wrong) {
      set.wrong = wrong.what();
    }
    return set;
  }

  void read_members(const std::string& name, const json& members, ModelSet& set) const {
    if (!members.is_object()) refuse(name, "must be an object of paths, got " + shown(members));
    for (const auto& [key, value] : members.items()) {
      if (!value.is_string() || value.get_ref<const std::string&>().empty())
        refuse(name, "must have texts, has " + shown(value) + " as " + shown(key));
      const std::string& text = value.get_ref<const std::string&>();
      const std::vector<std::string> parts = part_fields();
      if (key == "task")
        set.task = task_in(name, text);
      else if (key == "model")
        set.model = from_folder(file_.parent_path().string(), text);
      else if (std::find(parts.begin(), parts.end(), key) != parts.end())
        set.parts[key] = from_folder(file_.parent_path().string(), text);
      else
        refuse(name, "has " + shown(key) + ", which is not known; there are task, model, " + either(parts, " and "));
    }
  }

  Task task_in(const std::string& name, const std::string& text) const {
    std::vector<std::string> words;
    for (Task task : kTasks) words.push_back(task_name(task));
    const std::optional<Task> task = task_named(text);
    if (!task) refuse(name, "must have " + either(words) + " as its task, has " + shown(text));
    return *task;
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& what) const {
    throw std::invalid_argument("set " + shown(name) + " " + what);
  }

  fs::path file_;
};

}  // namespace

fs::path sets_file(const std::string& named) {
  if (!named.empty()) return named;
  const char* const config = std::getenv("XDG_CONFIG_HOME");
  const char* const home = std::getenv("HOME");
  if (config && *config) return fs::path(config) / "wan-infer" / "models.json";
  if (home && *home) return fs::path(home) / ".config" / "wan-infer" / "models.json";
  return {};
}

std::map<std::string, ModelSet> read_sets(const std::string& named) {
  const fs::path file = sets_file(named);
  std::error_code ignored;
  if (named.empty() && (file.empty() || !fs::exists(fs::symlink_status(file, ignored)))) return {};
  return SetReader(file).read();
}

ModelError no_such_model(const std::string& model, const std::map<std::string, ModelSet>& sets,
                         const std::string& way) {
  std::error_code ignored;
  if (fs::is_symlink(model, ignored)) return {model, "is a link to nothing; " + way};
  constexpr size_t kShown = 10;
  std::vector<std::string> names;
  for (const auto& [name, set] : sets) names.push_back(shown(name));
  if (names.size() > kShown) {
    const std::string more = std::to_string(names.size() - kShown) + " more";
    names.resize(kShown);
    names.push_back(more);
  }
  const std::string there = names.empty() ? "" : "; sets there are " + either(names, " and ");
  return {model, "is no folder, no file and no set of models.json" + there + "; " + way};
}

}  // namespace wan
