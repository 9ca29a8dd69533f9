#include "tools/cli/dry_run.h"

#include <charconv>
#include <cstdio>
#include <optional>

#include "engine/base/text.h"
#include "engine/request/expander_url.h"
#include "engine/request/geometry.h"
#include "engine/request/guidance_interval.h"
#include "engine/request/interpolation.h"
#include "engine/request/lora_expert.h"
#include "engine/request/lora_scales.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/presets.h"
#include "engine/request/safety.h"
#include "engine/request/schedule.h"

namespace wan {
namespace {

/// The name of the network that works in a step.
const char* expert(const Request& request, const Step& step) {
  if (request.task == Task::S2V) return "single";
  return step.high ? "high" : "low";
}

template <class... Values>
std::string line(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

/// The shortest text of a time step, which is whole or a float32.
std::string time_text(double t) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, float(t));
  return std::string(text, end.ptr);
}

std::string size_text(const Request& request) {
  if (request.width > 0) return line("%ldx%ld", long(request.width), long(request.height));
  return line("size of the input's shape, at most %ld pixels", long(area_of(request.resolution)));
}

/// Whether the length is known only when an input is read.
bool follows_input(const Request& request) {
  return find_parameter("num_frames")->accepts(request.task)->from_input && !request.num_frames_given;
}

FrameRun generated(const Request& request) {
  return {request.num_frames, {request.frames_per_second, 1}};
}

std::string length_text(const Request& request) {
  if (follows_input(request)) return "length of the input";
  return line("%ld frames (%ld rendered) at %ld fps, %.2f s", long(request.num_frames), long(request.rendered_frames()),
              long(request.frames_per_second), double(request.num_frames) / double(request.frames_per_second));
}

/// The request as a user may show it around: without secrets in URLs.
nlohmann::ordered_json shown_request(const Request& request) {
  nlohmann::ordered_json fields = to_json(request);
  for (const Parameter& parameter : parameters())
    if (parameter.media && fields.contains(parameter.name))
      fields[parameter.name] = public_url(fields[parameter.name].get<std::string>());
  return fields;
}

/// Of each LoRA; empty for speech, which has one transformer. Throws InvalidRequest as a render would: where nothing
/// tells an expert, and for more scales than it makes steps.
std::vector<Experts> experts_of_loras(const Request& request, const LoraScales& scales) {
  std::vector<Experts> experts;
  for (const Lora& lora : request.loras) {
    if (request.task == Task::S2V) {
      check_scales(lora, scales, /*high=*/true, "speech transformer");
      continue;
    }
    experts.push_back(experts_of(lora, lora.transformer.empty() ? keyed_experts(lora.path) : Experts{}));
    if (experts.back().high) check_scales(lora, scales, /*high=*/true, "high-noise expert");
    if (experts.back().low) check_scales(lora, scales, /*high=*/false, "low-noise expert");
  }
  return experts;
}

/// The scales of the LoRAs of a request by its steps.
class ScaleTable {
 public:
  explicit ScaleTable(const Request& request)
      : loras_(request.loras), scales_(request), experts_(experts_of_loras(request, scales_)) {}

  /// Of each LoRA in a step; nothing of one for the other expert.
  std::vector<std::optional<double>> in(const Step& step) const {
    std::vector<std::optional<double>> found;
    for (size_t i = 0; i < loras_.size(); ++i) {
      const bool own = experts_.empty() || experts_[i].has(step);
      found.push_back(own ? std::optional(scales_.at(loras_[i].scales, step)) : std::nullopt);
    }
    return found;
  }

 private:
  const std::vector<Lora>& loras_;
  LoraScales scales_;
  std::vector<Experts> experts_;
};

/// The branches of a step that reuse a residual, by name.
std::vector<std::string> reused_in(const StepReuse& reuse, const Step& step) {
  std::vector<std::string> names;
  for (size_t branch = 0; branch < kBranches; ++branch)
    if (reuse.reuses(step.index, branch)) names.emplace_back(branch_name(branch));
  return names;
}

std::string reused_text(const StepReuse& reuse, const Step& step) {
  const std::vector<std::string> names = reused_in(reuse, step);
  return names.empty() ? "-" : names.size() == kBranches ? "both" : names[0];
}

std::string sum_of(const StepReuse& reuse, const ReuseBounds& bounds) {
  return "acceleration: " + std::to_string(reuse.reused()) + " of " + std::to_string(reuse.forwards()) +
         " forwards reuse a residual, at most " + std::to_string(bounds.in_a_row) +
         " in a row, while the sum of their errors stays below " + number_text(bounds.error) +
         "; ratios: " + reuse.ratios + "\n";
}

nlohmann::ordered_json json_of(const StepReuse& reuse, const ReuseBounds& bounds) {
  nlohmann::ordered_json made = {{"reused_forwards", reuse.reused()}, {"forwards", reuse.forwards()}};
  if (!reuse.is_on()) return made;
  made.update({{"bound", bounds.error}, {"most_in_a_row", bounds.in_a_row}, {"ratios", reuse.ratios}});
  return made;
}

/// What a preset for few steps wants and what it is not given, what is not reused, and where nothing is guided.
std::vector<Note> notes_of(const Request& request, const Schedule& schedule, const StepReuse& reuse) {
  std::vector<Note> notes = preset_notes(request);
  if (const std::optional<Note> note = guides_nowhere(request, schedule)) notes.push_back(*note);
  if (!reuse.nothing.empty())
    notes.push_back({"acceleration", "regular reuses nothing: " + reuse.nothing, reuse.way_out});
  notes.insert(notes.end(), reuse.notes.begin(), reuse.notes.end());
  if (request.enable_prompt_expansion && !request.expander_url.empty()) notes.push_back(expansion_note(request));
  const Preset& preset = *find_preset(request.preset);
  if (preset.few_steps())
    notes.push_back(
        {"preset", std::string(preset.name) + " is for distilled models: checkpoints that are, or " + preset.loras});
  return notes;
}

/// What each LoRA is multiplied with in a step: "0" beside "-" for one of the other expert.
std::string loras_text(const ScaleTable& scales, const Step& step) {
  std::string text;
  for (const std::optional<double>& scale : scales.in(step))
    text += (text.empty() ? "" : " ") + (scale ? number_text(*scale) : "-");
  return text;
}

}  // namespace

std::string dry_run_text(const Request& request, const ReuseModel& model) {
  std::string text = line("%s  ", task_name(request.task)) + size_text(request) + ", " + length_text(request) + "\n";
  const bool known = !follows_input(request);
  if (const std::string chain = chain_text(interpolation_of(request), generated(request), known); !chain.empty())
    text += chain + "\n";
  if (const std::string checks = safety_line(request); !checks.empty()) text += checks + "\n";
  text += line("seed %llu, %s, ", (unsigned long long)request.seed, request.solver.c_str());
  text += request.sigmas.empty() ? "shift " + number_text(request.shift) : std::string("explicit sigmas");
  if (request.task != Task::S2V) text += ", boundary " + number_text(request.boundary);
  if (find_preset(request.preset)->few_steps()) text += ", preset " + request.preset;
  const ScaleTable scales(request);
  const bool skips = request.skip_softmax > 0;
  const Schedule schedule = make_schedule(request);
  const StepReuse reuse = step_reuse(request, schedule, model);
  text += std::string("\n\n step        t     sigma  expert  guidance") + (reuse.is_on() ? "         reused" : "") +
          (skips ? "  skip-softmax" : "") + (request.loras.empty() ? "" : "  lora") + "\n";
  for (const Step& step : schedule) {
    text += line("%5ld %8s  %8.6f  %-6s  %8s", long(step.index), time_text(step.t).c_str(), double(step.sigma),
                 expert(request, step), number_text(step.guidance).c_str());
    if (reuse.is_on()) text += line("  %13s", reused_text(reuse, step).c_str());
    if (skips) text += line("  %12s", step.skip_softmax > 0 ? number_text(step.skip_softmax).c_str() : "-");
    text += (request.loras.empty() ? "" : "  " + loras_text(scales, step)) + "\n";
  }
  if (reuse.is_on()) text += "\n" + sum_of(reuse, reuse_bounds(request.task));
  for (const Note& note : notes_of(request, schedule, reuse))
    text += "\n" + note.subject + ": " + note.text + (note.change.empty() ? "" : "; " + note.change);
  return text + (text.ends_with("\n") ? "" : "\n");
}

std::string dry_run_json(const Request& request, const ReuseModel& model) {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  const ScaleTable scales(request);
  const Schedule schedule = make_schedule(request);
  const StepReuse reuse = step_reuse(request, schedule, model);
  for (const Step& step : schedule) {
    steps.push_back({{"index", step.index},
                     {"t", step.t},
                     {"sigma", step.sigma},
                     {"expert", expert(request, step)},
                     {"guidance", step.guidance}});
    if (reuse.is_on()) steps.back()["reused"] = reused_in(reuse, step);
    if (request.skip_softmax > 0) steps.back()["skip_softmax"] = step.skip_softmax;
    for (const std::optional<double>& scale : scales.in(step))
      steps.back()["loras"].push_back(scale ? nlohmann::ordered_json(*scale) : nlohmann::ordered_json());
  }
  nlohmann::ordered_json result = {
      {"request", shown_request(request)}, {"rendered_frames", request.rendered_frames()}, {"steps", steps}};
  result["chain"] = chain_json(interpolation_of(request), generated(request), !follows_input(request));
  if (request.acceleration == "regular") result["acceleration"] = json_of(reuse, reuse_bounds(request.task));
  if (const std::vector<Note> notes = notes_of(request, schedule, reuse); !notes.empty())
    result["notes"] = to_json(notes);
  return result.dump() + "\n";
}

}  // namespace wan
