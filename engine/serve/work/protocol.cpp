#include "engine/serve/work/protocol.h"

#include <set>
#include <stdexcept>

#include "models/files/json.h"

namespace wan::serve {

using nlohmann::json;

void to_json(json& json, const WorkItem& item) {
  json = {{"id", item.id},
          {"fields", item.fields},
          {"out", item.out},
          {"preview", item.preview},
          {"withdrawn", item.withdrawn}};
}

void from_json(const json& json, WorkItem& item) {
  json.at("id").get_to(item.id);
  item.fields = json.at("fields");
  json.at("out").get_to(item.out);
  item.preview = json.value("preview", "");
  item.withdrawn = json.value("withdrawn", false);
}

void to_json(json& json, const WorkBatch& batch) {
  json = {{"do", "render"}, {"batch", batch.id}, {"folder", batch.folder}, {"jobs", batch.jobs}};
}

void from_json(const json& json, WorkBatch& batch) {
  json.at("batch").get_to(batch.id);
  json.at("folder").get_to(batch.folder);
  json.at("jobs").get_to(batch.jobs);
  std::set<std::string> ids;
  for (const WorkItem& item : batch.jobs)
    if (!ids.insert(item.id).second) throw std::invalid_argument("[batch] has the job " + item.id + " twice");
}

json to_json(const std::vector<FieldError>& errors) {
  json list = json::array();
  for (const FieldError& error : errors)
    list.push_back({{"field", error.field},
                    {"wrong", error.wrong},
                    {"type", error.type},
                    {"limits", error.limits},
                    {"input", error.input}});
  return list;
}

std::vector<FieldError> read_errors(const json& list) {
  std::vector<FieldError> errors;
  for (const json& error : list)
    errors.push_back({.field = error.at("field").get<std::string>(),
                      .wrong = error.at("wrong").get<std::string>(),
                      .type = error.value("type", ""),
                      .limits = error.value("limits", ""),
                      .input = error.value("input", "")});
  return errors;
}

json read_message(std::string_view line) {
  json message = parse_json(line, {.bytes = kMostLine, .depth = 24, .values = 1'000'000});
  if (!message.is_object()) throw std::invalid_argument("must be a JSON object");
  return message;
}

std::string line_of(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace wan::serve
