#include "engine/request/params.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "engine/request/params_rows.h"

namespace wan {

std::map<Task, Accepts> rows::each(const std::vector<Task>& tasks, const Accepts& accepts) {
  std::map<Task, Accepts> result;
  for (Task task : tasks) result.emplace(task, accepts);
  return result;
}

std::map<Task, Accepts> rows::every(const Accepts& accepts) {
  return each({std::begin(kTasks), std::end(kTasks)}, accepts);
}

const std::vector<Task>& rows::two_experts() {
  static const std::vector<Task> tasks = {Task::T2V, Task::I2V, Task::V2V};
  return tasks;
}

bool Range::contains(double value) const {
  return (above ? value > least : value >= least) && (below ? value < most : value <= most) &&
         (step == 1 || std::fmod(value, double(step)) == 0);
}

std::string Range::text(const std::string& unit) const {
  const std::string from = (above ? "above " : "from ") + number_text(least);
  std::string text = from + (below ? ", below " : above ? ", at most " : " to ") + number_text(most);
  if (!unit.empty()) text += " " + unit;
  return step == 1 ? text : text + ", a multiple of " + number_text(double(step));
}

const Accepts* Parameter::accepts(Task task) const {
  auto found = tasks.find(task);
  return found == tasks.end() ? nullptr : &found->second;
}

std::string Parameter::flag() const {
  std::string text = "--" + std::string(name);
  if (media && text.ends_with("_url")) text.resize(text.size() - std::strlen("_url"));
  if (repeated && text.ends_with("s")) text.pop_back();
  for (char& letter : text)
    if (letter == '_') letter = '-';
  return text;
}

const std::vector<Parameter>& parameters() {
  static const std::vector<Parameter> table = [] {
    std::vector<Parameter> all = rows::of_input();
    for (const auto& part :
         {rows::of_sampling(), rows::of_quality(), rows::of_run(), rows::of_expansion(), rows::of_safety()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}

const Parameter* find_parameter(const std::string& name) {
  for (const Parameter& parameter : parameters())
    if (parameter.name == name) return &parameter;
  return nullptr;
}

namespace {

template <typename Json>
Json json_of(const Lora& lora) {
  Json json = {{"path", lora.path}, {"scale", lora.scales}};
  if (lora.scales.size() == 1) json["scale"] = lora.scales[0];
  if (!lora.transformer.empty()) json["transformer"] = lora.transformer;
  return json;
}

}  // namespace

void to_json(nlohmann::json& json, const Lora& lora) {
  json = json_of<nlohmann::json>(lora);
}

void to_json(nlohmann::ordered_json& json, const Lora& lora) {
  json = json_of<nlohmann::ordered_json>(lora);
}

void from_json(const nlohmann::json& json, Lora& lora) {
  json.at("path").get_to(lora.path);
  const nlohmann::json& scale = json.at("scale");
  lora.scales = scale.is_array() ? scale.get<std::vector<double>>() : std::vector{scale.get<double>()};
  lora.transformer = json.value("transformer", "");
}

const char* task_name(Task task) {
  constexpr const char* kNames[] = {"t2v", "i2v", "v2v", "s2v"};
  return kNames[int(task)];
}

std::optional<Task> task_named(const std::string& name) {
  for (Task task : kTasks)
    if (name == task_name(task)) return task;
  return std::nullopt;
}

std::string number_text(double value) {
  if (value == 0x1p63) return "2^63 - 1";
  if (value == 0x1p64) return "2^64 - 1";
  char text[32];
  auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

}  // namespace wan