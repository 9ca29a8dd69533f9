#include "engine/request/parse.h"

#include <algorithm>
#include <random>

#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/request/expander_url.h"
#include "engine/request/files.h"
#include "engine/request/geometry.h"
#include "engine/request/guidance_interval.h"
#include "engine/request/hosted.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/request/presets.h"
#include "engine/request/safety.h"
#include "engine/request/schedule.h"
#include "engine/request/values.h"

namespace wan {
namespace {

using nlohmann::json;

template <class... Functions>
struct Overload : Functions... {
  using Functions::operator()...;
};

/// Whether a name is that of a flag that says how to run, not what to make.
bool is_run_flag(std::string_view name) {
  for (const char* flag : {"contact_sheet", "capture_qk", "preview", "overwrite", "fresh", "threads", "dry_run",
                           "log_format", "work", "order", "fail_fast", "anyway", "json"})
    if (name == flag) return true;
  return false;
}

class Parser {
 public:
  Parser(Task task, const json& fields, const ParseOptions& options) : fields_(fields), options_(options) {
    request_.task = task;
  }

  Request run() {
    refuse_unknown();
    for (const Parameter& parameter : parameters()) {
      const Accepts* accepts = parameter.accepts(request_.task);
      if (accepts) collect([&] { take(parameter, *accepts); });
    }
    collect([&] { settle_sigmas(); });
    if (errors_.empty()) settle_levels(fields_, request_);
    settle_dense_steps();
    collect([&] { read_guidance_interval(request_.guidance_interval); });
    collect([&] { settle_calibration(); });
    collect([&] { settle_size(); });
    collect([&] { check_last_image(); });
    collect([&] { check_weights(); });
    collect([&] { check_device_memory(); });
    settle_times();
    collect([&] { check_interpolation(); });
    collect([&] { settle_expansion(); });
    if (!options_.by_server) collect([&] { settle_safety(fields_, from_flags(), request_); });
    if (!request_.seed_given) request_.seed = std::random_device()() & 0x7FFFFFFF;  // fits every endpoint
    collect([&] { settle_output(); });
    if (!errors_.empty()) throw InvalidRequest(errors_);
    return request_;
  }

 private:
  bool from_flags() const { return options_.source == Source::Flags; }
  /// A parameter as who wrote the request calls it.
  std::string called(const char* name) const { return from_flags() ? find_parameter(name)->flag() : name; }
  bool engine_ranges() const {
    const Preset* preset = find_preset(request_.preset);
    return request_.unlocked || (preset && preset->engine_ranges);
  }

  void fail(const std::string& field, const std::string& wrong, const char* type, const std::string& limits = "",
            const json& input = nullptr) {
    errors_.push_back({field, wrong, type, limits, shown(input)});
  }

  template <class Function>
  void collect(Function function) {
    try {
      function();
    } catch (const InvalidRequest& invalid) {
      errors_.insert(errors_.end(), invalid.errors.begin(), invalid.errors.end());
    }
  }

  void refuse_unknown() {
    for (const auto& [name, value] : fields_.items()) {
      const Parameter* known = find_parameter(name);
      if (name == "task") continue;
      if (known && known->accepts(request_.task)) {
        if (options_.by_server && name != "out" && !is_hosted(*known, request_.task))
          fail(name, local_only_text(name), "unknown", "", value);
        continue;
      }
      std::vector<std::string> names;
      if (known) {
        for (const auto& [task, accepts] : known->tasks) names.push_back(task_name(task));
        fail(name, std::string("is not a parameter of ") + task_name(request_.task) + "; of " + either(names, " and "),
             "unknown", "", value);
      } else {
        for (const Parameter& parameter : parameters())
          if (parameter.accepts(request_.task)) names.push_back(parameter.name);
        const std::string field = shown(name);
        const std::string wrong = is_run_flag(name)
                                      ? "is a flag of the command line, not a field of a request; leave it out"
                                      : "is not a known field" + way_out(name, names);
        fail(field.substr(1, field.size() - 2), wrong, "unknown", "", value);
      }
    }
  }

  /// Behind an unknown name: the one that was meant, or where all are listed.
  std::string way_out(const std::string& name, const std::vector<std::string>& names) const {
    const std::string near = nearest_text(name, names);
    return near.empty() ? std::string("; wan-infer ") + task_name(request_.task) + " --help lists them" : near;
  }

  void take(const Parameter& parameter, const Accepts& accepts) {
    auto found = fields_.find(parameter.name);
    bool given = found != fields_.end() && !(parameter.nullable && found->is_null()) &&
                 !(parameter.empty_is_unset && *found == "");
    if (parameter.given) request_.*parameter.given = given;
    if (!given) return take_default(parameter, accepts);
    std::visit(Overload{[&](int64_t Request::*field) {
                          request_.*field = read_integer(parameter, *found, from_flags());
                          check_range(parameter, accepts, double(request_.*field), *found);
                        },
                        [&](uint64_t Request::*field) {
                          const std::optional<uint64_t> seed = read_seed(parameter, *found, from_flags());
                          request_.*parameter.given = seed.has_value();
                          request_.*field = seed.value_or(0);
                        },
                        [&](double Request::*field) {
                          request_.*field = read_number(parameter, *found, from_flags());
                          check_range(parameter, accepts, request_.*field, *found);
                        },
                        [&](bool Request::*field) { request_.*field = read_boolean(parameter, *found, from_flags()); },
                        [&](std::string Request::*field) {
                          request_.*field = read_text(parameter, *found);
                          check_word(parameter, accepts, request_.*field);
                          if (parameter.path) settle_path(parameter, request_.*field);
                        },
                        [&](std::vector<double> Request::*field) {
                          request_.*field = read_numbers(parameter, *found, from_flags());
                          for (double value : request_.*field) check_range(parameter, accepts, value, value);
                        },
                        [&](std::vector<Lora> Request::*field) {
                          request_.*field = read_loras(parameter, *found, from_flags());
                          for (Lora& lora : request_.*field) settle_lora(parameter, lora);
                        }},
               parameter.field);
    check_served(parameter, accepts, *found);
  }

  void take_default(const Parameter& parameter, const Accepts& accepts) {
    const bool is_model = parameter.field == Field(&Request::model);
    if (parameter.required && !(is_model && (options_.by_server || !options_.need_model || names_all_parts()))) {
      std::string way = from_flags() ? "is required; give it with " + parameter.flag() + " " + parameter.metavar
                                     : std::string("is required and absent");
      return fail(parameter.name, way, "missing");
    }
    const json preset = preset_value(request_.preset, request_.task, parameter.name);
    const json& value = preset.is_null() ? accepts.value : preset;
    if (value.is_null()) return;
    std::visit([&](auto field) { value.get_to(request_.*field); }, parameter.field);
  }

  /// Of the tokenizer another place is known: many a text encoder's file holds one.
  bool names_all_parts() const {
    const auto& table = parameters();
    return std::all_of(table.begin(), table.end(), [&](const Parameter& parameter) {
      return !parameter.part || !parameter.accepts(request_.task) || fields_.contains(parameter.name) ||
             parameter.field == Field(&Request::tokenizer);
    });
  }

  void check_range(const Parameter& parameter, const Accepts& accepts, double value, const json& input) {
    const Range& range = engine_ranges() ? accepts.engine : accepts.hosted;
    // With an explicit list of sigmas the number of steps is its length, which settle_sigmas compares.
    bool derived = parameter.field == Field(&Request::num_inference_steps) && fields_.contains("sigmas");
    if (range.contains(value) || derived) return;
    std::string came = input.is_string() ? input.get<std::string>() : shown(input);
    std::string wrong = "must be " + range.text() + ", got " + came;
    if (!engine_ranges() && !options_.by_server && accepts.engine.contains(value))
      wrong += from_flags() ? "; --unlocked allows more" : "; \"unlocked\": true allows more";
    const char* type = value < range.least || (range.above && value == range.least) ? "greater_than_equal"
                       : value > range.most || (range.below && value == range.most) ? "less_than_equal"
                                                                                    : "multiple_of";
    fail(parameter.name, wrong, type, number_text(range.least) + ".." + number_text(range.most), input);
  }

  void check_word(const Parameter& parameter, const Accepts& accepts, const std::string& word) {
    if (accepts.words.empty()) return;
    for (const std::string& known : accepts.words)
      if (word == known || (parameter.numbered && known == "cuda" && is_numbered(word))) return;
    std::vector<std::string> words = accepts.words;
    if (parameter.numbered) words.push_back("cuda:N");
    std::string limits;
    for (const std::string& known : words) limits += (limits.empty() ? "" : "|") + known;
    fail(parameter.name, "must be " + either(words) + ", got " + shown(word), "literal_error", limits, word);
  }

  /// cuda:0 to cuda:99.
  static bool is_numbered(const std::string& word) {
    return word.starts_with("cuda:") && word.size() > 5 && word.size() <= 7 &&
           word.find_first_not_of("0123456789", 5) == std::string::npos;
  }

  /// What is not served is refused where it would change the video, never ignored.
  void check_served(const Parameter& parameter, const Accepts& accepts, const json& input) {
    if (!parameter.unserved || options_.by_server) return;
    bool is_default = std::visit([&](auto field) { return json(request_.*field) == accepts.value; }, parameter.field);
    if (is_default || is_switched_off(parameter)) return;
    fail(parameter.name, shown(input) + " " + parameter.unserved, "not_available", shown(accepts.value), input);
  }

  bool is_switched_off(const Parameter& parameter) const {
    if (!parameter.switched_by) return false;
    const Parameter* key = find_parameter(parameter.switched_by);
    auto found = fields_.find(parameter.switched_by);
    return found != fields_.end() && *found == key->accepts(request_.task)->value;
  }

  void settle_path(const Parameter& parameter, std::string& path) {
    if (parameter.media && is_url(path)) return;
    if (parameter.named && is_bare_name(options_.folder, path)) return;
    // The name of a file in the model's folder; one that lies in the current folder is not what a manifest means.
    if (parameter.part && is_bare_name(options_.folder, path) && is_bare_name("", path)) return;
    refuse_file_url(parameter.name, path);
    path = from_folder(options_.folder, path);
    if (parameter.is_told_by_content() && options_.check_files) check_readable(parameter.name, path);
  }

  void settle_lora(const Parameter& parameter, Lora& lora) const {
    refuse_file_url(parameter.name, lora.path);
    lora.path = from_folder(options_.folder, lora.path);
    if (options_.check_files) check_lora_file(parameter.name, lora);
    if (request_.task == Task::S2V && !lora.transformer.empty() && lora.transformer != "both")
      throw InvalidRequest(parameter.name, "must not name an expert for s2v, which has one transformer, got @" +
                                               lora.transformer + "; leave it out");
  }

  void settle_sigmas() {
    const std::vector<double>& sigmas = request_.sigmas;
    if (!fields_.contains("sigmas")) return;
    for (size_t i = 1; i < sigmas.size(); ++i)
      if (!(sigmas[i] < sigmas[i - 1]))
        throw InvalidRequest("sigmas", "must fall from each to the next, got " + number_text(sigmas[i - 1]) +
                                           " before " + number_text(sigmas[i]));
    constexpr size_t kMost = 1000;
    if (sigmas.size() > kMost)
      throw InvalidRequest("sigmas", "must be at most 1000, got " + std::to_string(sigmas.size()));
    if (sigmas.empty()) return;
    if (fields_.contains("num_inference_steps") && request_.num_inference_steps != int64_t(sigmas.size()))
      throw InvalidRequest("num_inference_steps", "must be the number of sigmas, " + std::to_string(sigmas.size()) +
                                                      ", got " + std::to_string(request_.num_inference_steps) +
                                                      "; leave it out");
    request_.num_inference_steps = int64_t(sigmas.size());
  }

  /// Without Skip-Softmax the number means nothing: it is as if it was not given.
  void settle_dense_steps() {
    if (request_.skip_softmax == 0)
      request_.skip_softmax_dense = -1;
    else if (!fields_.contains("skip_softmax_dense"))
      request_.skip_softmax_dense = dense_steps(request_.num_inference_steps);
  }

  /// Without acceleration it means nothing: as fields, which may be given to many jobs, it is as if it was not given.
  void settle_calibration() {
    if (request_.acceleration == "regular" || request_.calibration.empty()) return;
    if (from_flags())
      throw InvalidRequest("calibration", "needs --acceleration regular, got " + shown(request_.acceleration));
    request_.calibration.clear();
  }

  /// The picture is the last of the frames that the model renders, 4n + 1; a file cut shorter would end before it.
  void check_last_image() const {
    const int64_t frames = request_.num_frames;
    if (request_.last_image_url.empty() || frames < 1 || (frames % 4 == 1 && frames > 1)) return;
    const int64_t above = std::max<int64_t>(request_.rendered_frames(), 5), below = above - 4;
    const std::string nearest = (below > 1 ? std::to_string(below) + " or " : "") + std::to_string(above);
    throw InvalidRequest("num_frames", "must be 4n + 1 where " + called("last_image_url") + " is given, got " +
                                           std::to_string(frames) + "; the nearest is " + nearest);
  }

  /// 8-bit arithmetic has codes of its own for the linears that these are about.
  void check_weights() const {
    if (request_.precision == "exact" || request_.weights == "stored") return;
    if (request_.precision == "fp8" && request_.weights == "fp8") return;
    throw InvalidRequest("weights", "must be stored with precision " + shown(request_.precision) + ", got " +
                                        shown(request_.weights) + "; precision exact takes it");
  }

  void check_device_memory() const {
    if (request_.device_memory.empty() || read_size(request_.device_memory)) return;
    throw InvalidRequest("device_memory", "must be a number of bytes with its unit, such as 20GB or 900MB, got " +
                                              shown(request_.device_memory));
  }

  /// RIFE draws every time directly. Midpoints that were asked for stay: the user is told of them.
  void settle_times() {
    if (request_.interpolator_model == "rife" && !fields_.contains("interpolation_times"))
      request_.interpolation_times = "direct";
  }

  /// Frames between others need somebody to draw them. A server has a default of its own.
  void check_interpolation() const {
    const bool asked = fields_.contains("num_interpolated_frames") && request_.num_interpolated_frames > 0;
    if (asked && !fields_.contains("interpolator_model") && !options_.by_server)
      throw InvalidRequest("num_interpolated_frames", "needs an interpolator, got " +
                                                          std::to_string(request_.num_interpolated_frames) +
                                                          " frames to draw and none; " + called("interpolator_model") +
                                                          " film or rife draws them");
    if (fields_.contains("interpolator") && !fields_.contains("interpolator_model") && !options_.by_server)
      throw InvalidRequest("interpolator", "needs the model whose weights it holds, got none; " +
                                               called("interpolator_model") + " film or rife names it");
    if (request_.task == Task::S2V && interpolation_of(request_).is_on() && !request_.adjust_fps_for_interpolation)
      throw InvalidRequest("adjust_fps_for_interpolation",
                           "must be true for speech, got false: at the old rate the picture would be slower than the "
                           "voice; leave it out");
  }

  /// A language server that is named is asked, unless the request says otherwise; a server has one of its own.
  void settle_expansion() {
    const bool named = !request_.expander_url.empty();
    if (named) chat_address(request_.expander_url);
    if (from_flags() && !named && !request_.expander_model.empty())
      throw InvalidRequest("expander_model", "needs the server that has the model, got none; --expander-url names it");
    if (named && !fields_.contains("enable_prompt_expansion")) request_.enable_prompt_expansion = true;
    if (!request_.enable_prompt_expansion || named || !options_.need_expander || options_.by_server) return;
    throw InvalidRequest("enable_prompt_expansion", "needs a language server, got none; " + called("expander_url") +
                                                        " names one (docs/prompt-expansion.md)");
  }

  void settle_size() {
    bool width = fields_.contains("width"), height = fields_.contains("height");
    if (width != height)
      throw InvalidRequest(width ? "height" : "width",
                           "is required together with " + called(width ? "width" : "height"));
    if (width || request_.task == Task::S2V || request_.aspect_ratio == "auto" || !errors_.empty()) return;
    Size size = size_of(request_.resolution, request_.aspect_ratio);
    request_.width = size.width;
    request_.height = size.height;
  }

  void settle_output() {
    if (options_.by_server && from_flags()) return;  // who brings the video says where to
    if (!fields_.contains("out"))
      request_.out = from_folder(options_.folder,
                                 std::string(task_name(request_.task)) + "-" + std::to_string(request_.seed) + ".mp4");
    if (fields_.contains("out") && !request_.out.empty()) check_ending("out", request_.out, {".mp4", ".m4v", ".mov"});
    if (!options_.check_files || request_.out.empty()) return;
    check_writable("out", request_.out);
    for (const Parameter& parameter : parameters()) {
      if (!parameter.is_told_by_content()) continue;
      const std::string& input = request_.*std::get<std::string Request::*>(parameter.field);
      if (!input.empty() && !is_url(input)) check_other_file("out", request_.out, called(parameter.name), input);
    }
  }

  const json& fields_;
  const ParseOptions& options_;
  Request request_;
  std::vector<FieldError> errors_;
};

void check_object(const json& fields) {
  if (!fields.is_object()) throw InvalidRequest("request", "must be a JSON object of parameters, got " + shown(fields));
}

}  // namespace

Request parse(Task task, const json& fields, const ParseOptions& options) {
  check_object(fields);
  return Parser(task, fields, options).run();
}

Request parse(const json& fields, const ParseOptions& options) {
  check_object(fields);
  std::vector<std::string> names;
  for (Task task : kTasks) names.push_back(task_name(task));
  auto found = fields.find("task");
  if (found == fields.end()) throw InvalidRequest("task", "is required and absent; " + either(names));
  std::optional<Task> task = found->is_string() ? task_named(found->get<std::string>()) : std::nullopt;
  if (!task) throw InvalidRequest("task", "must be " + either(names) + ", got " + shown(*found));
  return parse(*task, fields, options);
}

nlohmann::ordered_json to_json(const Request& request) {
  nlohmann::ordered_json result = {{"task", task_name(request.task)}};
  for (const Parameter& parameter : parameters()) {
    const Accepts* accepts = parameter.accepts(request.task);
    if (!accepts || !parameter.stored) continue;
    if (accepts->from_input && !(request.*parameter.given)) continue;
    nlohmann::ordered_json value =
        std::visit([&](auto field) { return nlohmann::ordered_json(request.*field); }, parameter.field);
    const bool idle = parameter.field == Field(&Request::expander_model) &&
                      (request.expander_model.empty() || !request.enable_prompt_expansion);
    bool unset = idle || (parameter.path && value == "") || (value.is_array() && value.empty()) ||
                 (value.is_number() && !accepts->engine.contains(value.get<double>()));
    if (!unset) result[parameter.name] = value;
  }
  return result;
}

}  // namespace wan
