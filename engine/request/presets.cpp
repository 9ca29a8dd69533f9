#include "engine/request/presets.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "engine/base/text.h"
#include "engine/request/lora_scales.h"
#include "engine/request/params.h"

namespace wan {
namespace {

using enum Task;
using nlohmann::json;

// wan/configs: sample_neg_prompt of shared_config and of wan_s2v_14B.
const char* const kNegative =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，"
    "残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱"
    "的背景，"
    "三条腿，背景人很多，倒着走";
const char* const kSpeechNegative =
    "画面模糊，最差质量，画面模糊，细节模糊不清，情绪激动剧烈，手快速抖动，字幕，丑陋的，残缺的，多余的手指，画得不好的"
    "手部，"
    "画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走";

const std::vector<Task> kAll = {std::begin(kTasks), std::end(kTasks)};
const std::vector<Task> kTwoExperts = {T2V, I2V, V2V};

std::map<Task, json> alike(const std::vector<Task>& tasks, const json& value) {
  std::map<Task, json> values;
  for (Task task : tasks) values[task] = value;
  return values;
}

/// From `first` to `last` in equal steps, as numpy's linspace.
std::vector<double> linspace(double first, double last, int count) {
  std::vector<double> levels;
  for (int i = 0; i < count; ++i) levels.push_back(first + i * (last - first) / (count - 1));
  return levels;
}

Preset hosted() {
  return {.name = "hosted",
          .what = "the defaults and ranges of the hosted endpoint",
          .source = "the endpoints' pages",
          .tasks = kAll};
}

Preset reference() {
  return {
      .name = "reference",
      .what = "the official configuration, its negative prompt, and the ranges that the mathematics allows",
      .source = "Wan2.2: wan/configs",
      .tasks = kAll,
      .values = {{"negative_prompt", {{T2V, kNegative}, {I2V, kNegative}, {V2V, kNegative}, {S2V, kSpeechNegative}}},
                 {"num_inference_steps", alike(kAll, 40)},
                 {"guidance_scale", {{T2V, 4.0}, {I2V, 3.5}, {V2V, 4.0}, {S2V, 4.5}}},
                 {"guidance_scale_2", {{T2V, 3.0}, {I2V, 3.5}, {V2V, 3.0}}},
                 {"shift", {{T2V, 12.0}, {I2V, 5.0}, {V2V, 12.0}, {S2V, 3.0}}}},
      .engine_ranges = true};
}

Preset lightning4() {
  return {.name = "lightning4",
          .what = "4 steps without guidance, two of each expert, for models distilled to them",
          .source = "LightX2V: configs/distill/wan22, configs/wan22; Wan2.2-Lightning#3",
          .tasks = kTwoExperts,
          .values = {{"num_inference_steps", alike(kTwoExperts, 4)},
                     {"guidance_scale", alike(kTwoExperts, 1.0)},
                     {"guidance_scale_2", alike(kTwoExperts, 1.0)},
                     {"shift", alike(kTwoExperts, 5.0)},
                     {"solver", alike(kTwoExperts, "euler")}},
          .levels = {1000, 750, 500, 250},
          .high_steps = 2,
          .loras = "--lora HIGH@high --lora LOW@low"};
}

Preset lightning8() {
  return {.name = "lightning8-3phase",
          .what =
              "8 steps: the first with guidance and without LoRA, three of the high-noise expert and four of the "
              "low-noise one without guidance, against the slow motion of 4 steps",
          .source =
              "Wan2GP: profiles/wan_2_2/Lightning i2v v2025-10-14 3 Phases - 8 Steps.json, "
              "shared/utils/euler_scheduler.py",
          .tasks = kTwoExperts,
          .values = {{"num_inference_steps", alike(kTwoExperts, 8)},
                     {"guidance_scale", alike(kTwoExperts, 3.5)},
                     {"guidance_scale_2", alike(kTwoExperts, 1.0)},
                     {"guidance_until", alike(kTwoExperts, 0.985)},
                     {"shift", alike(kTwoExperts, 5.0)},
                     {"boundary", alike(kTwoExperts, 0.8)},
                     {"solver", alike(kTwoExperts, "euler")}},
          .levels = linspace(1000, 1, 8),
          .high_steps = 4,
          .loras = "--lora HIGH:0,1,1,1@high --lora LOW@low"};
}

/// A boundary between the levels of two steps that belong to different experts, with three digits where they differ in these.
double between(double high, double low) {
  const double middle = (high + low) / 2, rounded = std::round(middle * 1000) / 1000;
  return rounded > low && rounded <= high ? rounded : middle;
}

json value_of(const Request& request, const Parameter& parameter) {
  return std::visit([&](auto field) { return json(request.*field); }, parameter.field);
}

std::string text_of(const json& value) {
  if (value.is_number()) return number_text(value.get<double>());
  if (!value.is_array()) return value.is_string() ? value.get<std::string>() : value.dump();
  std::string text;
  for (const json& one : value) text += (text.empty() ? "" : ",") + number_text(float(one.get<double>()));
  return text;
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {hosted(), reference(), lightning4(), lightning8()};
  return all;
}

std::vector<double> preset_sigmas(const Preset& preset, double shift) {
  std::vector<double> sigmas;
  // Where rounding gives more than 1, 1: the list of a replay is within (0, 1].
  for (double level : preset.levels)
    sigmas.push_back(std::min(shift * level / 1000 / (1 + (shift - 1) * level / 1000), 1.0));
  return sigmas;
}

bool Preset::guides() const {
  return std::any_of(values.begin(), values.end(),
                     [](const PresetValue& value) { return std::string_view(value.field) == "guidance_until"; });
}

const Preset* find_preset(std::string_view name) {
  for (const Preset& preset : presets())
    if (preset.name == name) return &preset;
  return nullptr;
}

std::vector<std::string> preset_names(Task task) {
  std::vector<std::string> names;
  for (const Preset& preset : presets())
    if (std::find(preset.tasks.begin(), preset.tasks.end(), task) != preset.tasks.end()) names.push_back(preset.name);
  return names;
}

json preset_value(std::string_view name, Task task, std::string_view field) {
  const Preset* preset = find_preset(name);
  if (!preset) return nullptr;
  for (const PresetValue& value : preset->values)
    if (value.field == field) {
      const auto found = value.values.find(task);
      return found == value.values.end() ? json() : found->second;
    }
  return nullptr;
}

void settle_levels(const json& given, Request& request) {
  const Preset* preset = find_preset(request.preset);
  if (!preset || preset->levels.empty() || !request.sigmas.empty()) return;
  if (request.num_inference_steps != int64_t(preset->levels.size())) return;
  request.sigmas = preset_sigmas(*preset, request.shift);
  const auto high = size_t(preset->high_steps);
  const double last_high = request.sigmas.at(high - 1), first_low = request.sigmas.at(high);
  const bool splits = last_high >= request.boundary && first_low < request.boundary;
  if (!splits && !given.contains("boundary")) request.boundary = between(last_high, first_low);
}

std::vector<Note> preset_notes(const Request& request) {
  std::vector<Note> notes;
  const Preset* preset = find_preset(request.preset);
  if (!preset || !preset->few_steps()) return notes;
  const auto add = [&](const char* field, const json& is, const json& wanted) {
    notes.push_back({field, "is " + text_of(is) + ", where preset " + preset->name + " has " + text_of(wanted),
                     "leave it out to take the preset's"});
  };
  for (const PresetValue& value : preset->values) {
    const json wanted = preset_value(preset->name, request.task, value.field);
    const json is = value_of(request, *find_parameter(value.field));
    if (!wanted.is_null() && is != wanted) add(value.field, is, wanted);
  }
  const std::vector<double> levels = preset_sigmas(*preset, request.shift);
  if (request.num_inference_steps == int64_t(levels.size()) && request.sigmas != levels)
    add("sigmas", request.sigmas, levels);
  const bool has_boundary = !preset_value(preset->name, request.task, "boundary").is_null();
  const int64_t high = LoraScales(request).steps(/*high=*/true);
  if (!has_boundary && request.num_inference_steps == int64_t(levels.size()) && high != preset->high_steps)
    notes.push_back({"boundary",
                     "is " + number_text(request.boundary) + ": the high-noise expert makes " + std::to_string(high) +
                         " of the steps, where preset " + preset->name + " gives it " +
                         std::to_string(preset->high_steps),
                     "leave it out to take the preset's"});
  return notes;
}

}  // namespace wan
