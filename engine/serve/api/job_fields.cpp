#include "engine/serve/api/job_fields.h"

#include <algorithm>
#include <random>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/parse.h"
#include "engine/request/values.h"

namespace wan::serve {
namespace {

using nlohmann::json;

constexpr const char *kInputCheck = "enable_safety_checker", *kOutputCheck = "enable_output_safety_checker";
constexpr const char *kInterpolator = "interpolator_model", *kDrawn = "num_interpolated_frames";
constexpr const char* kExpansion = "enable_prompt_expansion";
constexpr int64_t kExpanderSeconds = 120;  // that a language server may take for one prompt

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
    take_interpolator();
    take_render();
    take_expander();
    take_safety();
    check();
    return std::move(result_);
  }

 private:
  void set(const std::string& name, json value) { result_.fields[name] = std::move(value); }
  void note(const std::string& text) { result_.notes.push_back(text); }

  /// A field of the endpoint whose part is not on this server, unless it has the value that stands for "off".
  bool is_missing(const EndpointField& field, const json& value) const {
    if (!field.parameter || value == off_of(field)) return false;
    const std::string name = field.parameter->name;
    if (name == kInterpolator) return !has_interpolator(value);
    if (name == kDrawn) return !has_interpolator(interpolator());
    if (name == kExpansion) return settings_.expander_url.empty();
    if (name == kInputCheck) return !can_check_inputs();
    if (name == kOutputCheck) return settings_.safety_checker.empty();
    return field.parameter->unserved != nullptr;
  }

  json off_of(const EndpointField& field) const {
    return field.parameter->name == std::string(kDrawn) ? json(0) : field.parameter->accepts(endpoint_.task)->value;
  }

  /// The one that the request has, sent or by default.
  json interpolator() const {
    const EndpointField* const field = endpoint_.field_of(kInterpolator);
    return field ? values_.value(field->name, field->value) : json("none");
  }

  bool has_interpolator(const json& model) const {
    return model == "none" || (model.is_string() && settings_.interpolators.contains(model.get<std::string>()));
  }

  /// Its weights, which whoever runs the server named.
  void take_interpolator() {
    const auto model = result_.fields.find(kInterpolator);
    if (model == result_.fields.end() || !model->is_string()) return;
    const auto file = settings_.interpolators.find(model->get<std::string>());
    if (file != settings_.interpolators.end()) set("interpolator", file->second);
  }

  /// The language server, which whoever runs this one named. It ends before a worker that waits for it is taken for one
  /// that hangs.
  void take_expander() {
    if (result_.fields.value(kExpansion, json()) != true || settings_.expander_url.empty()) return;
    set("expander_url", settings_.expander_url);
    if (!settings_.expander_model.empty()) set("expander_model", settings_.expander_model);
    if (result_.fields.contains("expander_timeout")) return;
    const int64_t hang = settings_.worker_timeout ? settings_.worker_timeout->count() : 0;
    set("expander_timeout", hang > 0 ? std::clamp<int64_t>(hang / 2, 1, kExpanderSeconds) : kExpanderSeconds);
  }

  /// Of a text nothing but its words is looked at.
  bool can_check_inputs() const {
    return !settings_.safety_checker.empty() || (endpoint_.task == Task::T2V && !settings_.blocked_words.empty());
  }

  /// How a check is made, which whoever runs the server decided. A refused video is kept nowhere.
  void take_safety() {
    for (const char* check : {kInputCheck, kOutputCheck})
      if (!result_.fields.contains(check)) set(check, false);
    const bool input = result_.fields[kInputCheck] == true, output = result_.fields[kOutputCheck] == true;
    if (!input && !output) return;
    if (!settings_.safety_checker.empty()) set("safety_checker", settings_.safety_checker);
    if (settings_.safety_threshold) set("safety_threshold", *settings_.safety_threshold);
    if (input && !settings_.blocked_words.empty()) set("blocked_words", settings_.blocked_words);
    set("safety_action", settings_.safety_action);
    set("discard", true);
  }

  void take(const EndpointField& field) {
    const std::string name = field.parameter->name;
    const auto sent = values_.find(field.name);
    if (sent != values_.end()) return take_sent(field, *sent);
    if (name == "acceleration") return take_acceleration(field);
    // A shorter video decides the length, which would be an error where the length had been asked for.
    if (name == "num_frames" && endpoint_.task == Task::V2V) return;
    if (is_missing(field, field.value)) {
      // With its model left out, the number of frames is idle.
      if (!field.parameter->switched_by)
        note(field.name + " " + shown(field.value) + " is the default and not available on this server: left out");
      return;
    }
    if (!field.value.is_null() && name != "seed") set(name, field.value);
  }

  void take_sent(const EndpointField& field, const json& value) {
    if (is_missing(field, value) && !is_switched_off(field)) return refuse_missing(field, value);
    const std::string name = field.parameter->name;
    if (name == "seed" && value == -1) return;  // drawn
    set(name, value);
  }

  /// Whether the client itself has turned off the part that this is about.
  bool is_switched_off(const EndpointField& field) const {
    if (!field.parameter->switched_by) return false;
    const EndpointField* key = endpoint_.field_of(field.parameter->switched_by);
    return key && values_.contains(key->name) && !is_missing(*key, values_[key->name]);
  }

  void refuse_missing(const EndpointField& field, const json& value) {
    const json off = off_of(field);
    add_error(errors_, field.name, "value_error",
              "Value error, " + shown(value) + " is not available on this server; send " + shown(off) + " or leave " +
                  field.name + " out",
              value);
  }

  void take_acceleration(const EndpointField& field) {
    json value = settings_.default_acceleration;
    std::string why = "the default of this server";
    if (is_missing(field, value)) {
      why = shown(value) + ", " + why + ", is not available";
      value = field.parameter->accepts(endpoint_.task)->value;
    }
    note("acceleration is " + shown(value) + " (" + why + ")");
    set(field.parameter->name, value);
  }

  /// The video is as long as the sound, which may not be longer than WaveSpeed's limit. What an encoder added is cut.
  void take_length() {
    set("max_seconds", kWaveSpeedSeconds);
    set("most_audio_seconds", kWaveSpeedSeconds);
  }

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
