#include "engine/residency/inspect_render.h"

#include <algorithm>

#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/inspect_parts.h"
#include "engine/residency/part_kinds.h"
#include "engine/residency/part_paths.h"
#include "models/files/error.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

class Render {
 public:
  Render(Task task, const std::vector<fs::path>& paths, Inspection& inspection)
      : task_(task), paths_(paths), inspection_(inspection) {}

  void tell(const std::string& model, const std::string& models, RecognisedFiles& files) {
    found_.name = task_name(task_);
    Request request;
    request.task = task_;
    request.model = model;
    request.models = models;
    try {
      take(search_parts(request, files));
    } catch (const ModelError& error) {
      refuse(error, false);
    }
    inspection_.tasks.push_back(std::move(found_));
  }

 private:
  void take(const PartsSearch& search) {
    for (const ModelError& error : search.several) refuse(error, true);
    for (const ModelError& error : search.errors) refuse(error, false);
    for (const auto& [network, why] : search.damaged) refuse(why, is_refused(why));
    for (const auto& [network, part] : search.parts.networks) tell_taken(network, part);
    for (const std::string& remark : search.parts.remarks) add_remark(inspection_, remark);
  }

  /// Whether another refusal is about the same file, as of a part that is not there.
  bool is_refused(const ModelError& why) const {
    return std::any_of(found_.refusals.begin(), found_.refusals.end(),
                       [&](const InspectedRefusal& other) { return other.field == why.subject; });
  }

  void refuse(const ModelError& error, bool told) {
    const auto known = [&](const InspectedRefusal& other) {
      return other.field == error.subject && other.text == error.text;
    };
    if (std::none_of(found_.refusals.begin(), found_.refusals.end(), known))
      found_.refusals.push_back({error.subject, error.text, told});
  }

  /// The networks that are a part: its file under all of its names, or the only file in its folder.
  std::vector<size_t> networks_at(const fs::path& path) const {
    std::vector<size_t> same, inside;
    for (size_t i = 0; i < paths_.size(); ++i) {
      if (is_same(paths_[i], path)) same.push_back(i);
      if (!is_folder(paths_[i]) && is_same(paths_[i].parent_path(), path)) inside.push_back(i);
    }
    return same.empty() ? inside : same;
  }

  /// The rules of the networks that are of a part's kind: one is taken, and the others are not.
  void tell_taken(Network network, const ModelPart& part) {
    const std::vector<size_t> taken = networks_at(part.path);
    const std::string name = shown_text(taken.empty() ? part.name : inspection_.networks[taken[0]].name, 120);
    for (size_t i = 0; i < paths_.size(); ++i) {
      InspectedNetwork& entry = inspection_.networks[i];
      const bool is_it = std::find(taken.begin(), taken.end(), i) != taken.end();
      if (is_it && entry.why) refuse(*entry.why, is_refused(*entry.why));
      const bool of_kind = entry.model == kind_of(network, task_).model && entry.part == field_of(network);
      if (!of_kind || entry.rule.starts_with("one of ")) continue;
      entry.rule = !is_it ? "not used: " + name + " is taken" : i == taken[0] ? part.rule : "the same file as " + name;
    }
  }

  const Task task_;
  const std::vector<fs::path>& paths_;
  Inspection& inspection_;
  InspectedTask found_;
};

}  // namespace

std::vector<Task> tasks_of(const Inspection& inspection) {
  std::vector<Task> tasks;
  for (const auto& [task, model] :
       {std::pair(Task::T2V, Model::TextExpert), {Task::I2V, Model::ImageExpert}, {Task::S2V, Model::Speech}})
    if (std::any_of(inspection.networks.begin(), inspection.networks.end(),
                    [&, model = model](const InspectedNetwork& network) { return network.model == model; }))
      tasks.push_back(task);
  return tasks;
}

void tell_model(const std::vector<Task>& tasks, const std::string& model, const std::string& models,
                const std::vector<fs::path>& paths, RecognisedFiles& files, Inspection& inspection) {
  const Several several = tell_several(paths, inspection);
  for (Task task : tasks) Render(task, paths, inspection).tell(model, models, files);
  tell_left_out(inspection);
  inspection.kind = model_kind(inspection, several);
}

}  // namespace wan
