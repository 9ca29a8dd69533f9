#include "engine/serve/api/job_fields.h"

#include <random>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/parse.h"
#include "engine/request/values.h"

namespace wan::serve {
namespace {

using nlohmann::json;

/// A field of the endpoint whose part is not in this build, unless it has the value that stands for "off".
bool is_missing(const EndpointField& field, Task task, const json& value) {
  return field.parameter && field.parameter->unserved && value != field.parameter->accepts(task)->value;
}

/// Text of an operator as the type that the field has.
json typed(const Parameter& parameter, const std::string& text) {
  const json value = text;
  if (std::holds_alternative<bool Request::*>(parameter.field)) return read_boolean(parameter, value, true);
  if (std::holds_alternative<int64_t Request::*>(parameter.field)) return read_integer(parameter, value, true);
  if (std::holds_alternative<double Request::*>(parameter.field)) return read_number(parameter, value, true);
  if (std::holds_alternative<std::vector<double> Request::*>(parameter.field))
    return read_numbers(parameter, value, true);
  if (std::holds_alternative<std::vector<Lora> Request::*>(parameter.field)) return read_loras(parameter, value, true);
  if (std::holds_alternative<uint64_t Request::*>(parameter.field)) {
    const std::optional<uint64_t> seed = read_seed(parameter, value, true);
    return seed ? json(*seed) : json(nullptr);
  }
  return value;
}

class Maker {
 public:
  Maker(const Endpoint& endpoint, const json& values, const Settings& settings, ErrorList& errors)
      : endpoint_(endpoint), values_(values), settings_(settings), errors_(errors) {}

  JobFields run() {
    set("task", task_name(endpoint_.task));
    set("model", model_for(endpoint_.task, settings_));
    set("precision", settings_.precision);
    if (!settings_.private_urls) set("private_urls", false);
    for (const EndpointField& field : endpoint_.fields)
      if (field.parameter) take(field);
    if (endpoint_.vendor == Vendor::WaveSpeed) take_length();
    if (!result_.fields.contains("seed")) set("seed", std::random_device()() & 0x7FFFFFFF);
    take_size();
    take_render();
    check();
    return std::move(result_);
  }

 private:
  void set(const std::string& name, json value) { result_.fields[name] = std::move(value); }
  void note(const std::string& text) { result_.notes.push_back(text); }

  void take(const EndpointField& field) {
    const std::string name = field.parameter->name;
    const auto sent = values_.find(field.name);
    if (sent != values_.end()) return take_sent(field, *sent);
    if (name == "acceleration") return take_acceleration(field);
    // A shorter video decides the length, which would be an error where the length had been asked for.
    if (name == "num_frames" && endpoint_.task == Task::V2V) return;
    if (is_missing(field, endpoint_.task, field.value)) {
      // With its model left out, the number of frames is idle.
      if (!field.parameter->switched_by)
        note(field.name + " " + shown(field.value) + " is the default and not available on this server: left out");
      return;
    }
    if (!field.value.is_null() && name != "seed") set(name, field.value);
  }

  void take_sent(const EndpointField& field, const json& value) {
    if (is_missing(field, endpoint_.task, value) && !is_switched_off(field)) return refuse_missing(field, value);
    const std::string name = field.parameter->name;
    if (name == "seed" && value == -1) return;  // drawn
    set(name, value);
  }

  /// Whether the client itself has turned off the part that this is about.
  bool is_switched_off(const EndpointField& field) const {
    if (!field.parameter->switched_by) return false;
    const EndpointField* key = endpoint_.field_of(field.parameter->switched_by);
    return key && values_.contains(key->name) && !is_missing(*key, endpoint_.task, values_[key->name]);
  }

  void refuse_missing(const EndpointField& field, const json& value) {
    const json off = field.parameter->accepts(endpoint_.task)->value;
    add_error(errors_, field.name, "value_error",
              "Value error, " + shown(value) + " is not available on this server; send " + shown(off) + " or leave " +
                  field.name + " out",
              value);
  }

  void take_acceleration(const EndpointField& field) {
    json value = settings_.default_acceleration;
    std::string why = "the default of this server";
    if (is_missing(field, endpoint_.task, value)) {
      why = shown(value) + ", " + why + ", is not available";
      value = field.parameter->accepts(endpoint_.task)->value;
    }
    note("acceleration is " + shown(value) + " (" + why + ")");
    set(field.parameter->name, value);
  }

  /// The video is as long as the sound, up to WaveSpeed's limit.
  void take_length() { set("max_seconds", kWaveSpeedSeconds); }

  void take_size() {
    if (settings_.size_override.empty()) return;
    const size_t by = settings_.size_override.find('x');
    const Parameter &width = *find_parameter("width"), &height = *find_parameter("height");
    set("width", typed(width, settings_.size_override.substr(0, by)));
    set("height", typed(height, by == std::string::npos ? "" : settings_.size_override.substr(by + 1)));
    note("rendered at " + settings_.size_override + ", whatever the request says (--size-override)");
  }

  void take_render() {
    for (const auto& [name, text] : settings_.render) {
      const Parameter* parameter = find_parameter(name);
      if (!parameter) throw InvalidRequest(name, "is not a known field");
      if (!parameter->accepts(endpoint_.task)) continue;
      json value = typed(*parameter, text);
      const EndpointField* field = endpoint_.field_of(name);
      if (field && result_.fields.value(name, json()) != value)
        note(field->name + " is " + shown(value) + " for every request of this server");
      set(name, std::move(value));
    }
  }

  /// What the engine says of it all: limits that the endpoint does not state, such as the length of texts.
  void check() {
    if (!errors_.empty()) return;
    try {
      parse(result_.fields, {.check_files = false});
    } catch (const InvalidRequest& invalid) {
      for (const FieldError& error : invalid.errors) {
        const EndpointField* field = endpoint_.field_of(error.field);
        if (!field) throw;
        add_error(errors_, field->name, error.type.c_str(), error.wrong, values_.value(field->name, json()));
      }
    }
  }

  const Endpoint& endpoint_;
  const json& values_;
  const Settings& settings_;
  ErrorList& errors_;
  JobFields result_;
};

}  // namespace

std::string model_for(Task task, const Settings& settings) {
  auto found = settings.models.find(task_name(task));
  if (found == settings.models.end() && task == Task::V2V) found = settings.models.find(task_name(Task::T2V));
  return found == settings.models.end() ? "" : found->second;
}

JobFields job_fields(const Endpoint& endpoint, const json& values, const Settings& settings, ErrorList& errors) {
  return Maker(endpoint, values, settings, errors).run();
}

}  // namespace wan::serve
