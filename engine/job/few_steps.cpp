#include "engine/job/few_steps.h"

#include <algorithm>
#include <cmath>

#include "engine/base/text.h"
#include "engine/request/lora_expert.h"
#include "engine/request/params.h"
#include "engine/request/presets.h"
#include "engine/request/schedule.h"
#include "engine/residency/distilled.h"
#include "engine/residency/noise_level.h"
#include "models/files/error.h"

namespace wan {

namespace {

constexpr int64_t kFewSteps = 8;

std::string name_of(const Lora& lora) {
  return shown_text(std::filesystem::path(lora.path).filename().string(), 120);
}

/// What of a request is distilled to few steps.
struct Distilled {
  std::vector<std::string> names;  // of checkpoints and of LoRAs that are on in some step
  std::vector<std::string> off;    // of LoRAs whose scales are all 0
  std::vector<const Lora*> loras;  // those that are on
  Experts experts;                 // which of them have something distilled; a LoRA that nothing tells counts for both
};

Distilled distilled_of(const Request& request, const ModelParts& parts) {
  Distilled found;
  for (Network network : {Network::HighNoise, Network::LowNoise, Network::Speech}) {
    if (!distilled_part(parts, network)) continue;
    found.names.push_back(shown_text(parts.networks.at(network).name, 120));
    found.experts.high = found.experts.high || network == Network::HighNoise;
    found.experts.low = found.experts.low || network == Network::LowNoise;
  }
  for (const Lora& lora : request.loras) {
    if (!distilled_lora(lora.path)) continue;
    const auto is_off = [](double scale) { return scale == 0; };
    if (std::all_of(lora.scales.begin(), lora.scales.end(), is_off)) {
      found.off.push_back(name_of(lora));
      continue;
    }
    found.names.push_back(name_of(lora));
    found.loras.push_back(&lora);
    const Experts told = told_experts(lora, keyed_experts(lora.path)).value_or(Experts{true, true});
    found.experts = {found.experts.high || told.high, found.experts.low || told.low};
  }
  return found;
}

/// The preset that sets the levels of so many steps without guidance; null: none does.
const Preset* preset_of(size_t steps) {
  for (const Preset& preset : presets())
    if (preset.few_steps() && !preset.guides() && preset.levels.size() == steps) return &preset;
  return nullptr;
}

/// "another solver (unipc), other noise levels": what of a schedule of as many steps is not the preset's.
void add_other_than(const Preset& preset, const Request& request, const Schedule& schedule,
                    std::vector<std::string>& misfits) {
  const double shift = preset_value(preset.name, request.task, "shift").get<double>();
  const std::vector<double> levels = preset_sigmas(preset, shift);
  constexpr double kNear = 1e-3;
  const auto is_other = [&](const Step& step) { return std::abs(step.sigma - levels[size_t(step.index)]) > kNear; };
  const auto is_of_other = [&](const Step& step) { return step.high != (step.index < preset.high_steps); };
  if (std::any_of(schedule.begin(), schedule.end(), is_other)) misfits.push_back("other noise levels");
  if (std::any_of(schedule.begin(), schedule.end(), is_of_other)) misfits.push_back("steps on the other expert");
}

/// What a run has that no distilled model is made for: more steps than 8, guidance above `most_guidance`, a solver.
std::vector<std::string> misfits_of(const Request& request, const Schedule& schedule, double most_guidance) {
  double most = 0;
  for (const Step& step : schedule) most = std::max(most, step.guidance);
  std::vector<std::string> misfits;
  if (schedule.size() > kFewSteps) misfits.push_back(std::to_string(schedule.size()) + " steps");
  if (most > most_guidance) misfits.push_back("guidance up to " + number_text(most));
  if (schedule.solver() != SolverKind::Euler && schedule.solver() != SolverKind::StepDistill)
    misfits.push_back("the solver " + request.solver);
  return misfits;
}

int64_t steps_of(const Request& request) {
  return request.sigmas.empty() ? request.num_inference_steps : int64_t(request.sigmas.size());
}

/// "27 steps and guidance up to 4"; empty where all is as a distilled model has it.
std::string misfit_of(const Request& request) {
  const Schedule schedule = make_schedule(request);
  std::vector<std::string> misfits = misfits_of(request, schedule, 1);
  const Preset* const preset = request.task == Task::S2V ? nullptr : preset_of(size_t(steps_of(request)));
  if (preset) add_other_than(*preset, request, schedule, misfits);
  return misfits.empty() ? "" : either(misfits, " and ");
}

/// Settings for a model that is distilled to so many steps.
std::string settings_for(int steps, const Request& request) {
  return "--num-inference-steps " + std::to_string(steps) + " --guidance-scale 1 " +
         (request.task == Task::S2V ? "" : "--guidance-scale-2 1 ") + "--solver euler is what it is made for";
}

/// The settings that distilled files are made for: of as many steps as the first LoRA says that says any, else of 4.
std::string way_out(const Request& request, const Distilled& distilled) {
  int steps = 0;
  for (const Lora* lora : distilled.loras)
    if (steps == 0) steps = lora_steps(lora->path);
  if (steps == 0) steps = 4;
  if (steps == 4 && request.task != Task::S2V)
    return "--preset lightning4 sets steps, sigmas, guidance and solver at once";
  return settings_for(steps, request);
}

/// LoRAs that are on in the first step, though the preset's are off: those of the high-noise expert, or of none by
/// name.
std::vector<std::string> on_in_first_step(const Request& request) {
  std::vector<std::string> names;
  for (const Lora& lora : request.loras) {
    const std::string name = std::filesystem::path(lora.path).filename().string();
    const bool low = lora.transformer == "low" ||
                     (lora.transformer.empty() && noise_level({lora.path, name, ""}) == NoiseLevel::Low);
    if (!low && lora.scales.at(0) != 0 && distilled_lora(lora.path)) names.push_back(name_of(lora));
  }
  return names;
}

constexpr const char* kField = "preset";
const std::string kLoud = "THE SETTINGS DO NOT FIT THE MODEL: ";

/// Of a preset for which there is no distilled file, or none that is on.
Note none_distilled(const Preset& preset, const Distilled& distilled) {
  const std::string what = kLoud + preset.name + " is for models that are distilled to few steps, and ";
  if (distilled.off.empty())
    return {kField, what + "no file says that it is; others give a blurred video",
            std::string("add ") + preset.loras + ", or name distilled checkpoints"};
  return {kField,
          what + "nothing that is on is distilled: " + either(distilled.off, " and ") +
              (distilled.off.size() > 1 ? " have" : " has") + " scale 0; the video will be blurred",
          "give them a scale, 1 where their page says no other"};
}

/// An expert that makes steps with nothing distilled.
void note_half(const Request& request, const Distilled& distilled, Notes& notes) {
  const Schedule schedule = make_schedule(request);
  const auto is_bare = [&](const Step& step) { return !distilled.experts.has(step); };
  const auto bare = std::count_if(schedule.begin(), schedule.end(), is_bare);
  if (bare == 0) return;
  const std::string other = distilled.experts.low ? "high" : "low";
  notes.add({kField,
             kLoud + std::to_string(bare) + " of the " + std::to_string(schedule.size()) +
                 " steps are not distilled, those of the " + other + "-noise expert: distilled to few steps is only " +
                 either(distilled.names, " and "),
             "name the distilled file of the pair for the " + other + "-noise expert, too"});
}

/// What a preset for few steps does not have as the distilled files want it.
void note_preset(const Preset& preset, const Request& request, const Distilled& distilled, Notes& notes) {
  const double guidance = preset.guides() ? preset_value(preset.name, request.task, "guidance_scale").get<double>() : 1;
  const std::vector<std::string> misfits = misfits_of(request, make_schedule(request), guidance);
  if (!misfits.empty())
    notes.add({kField,
               kLoud + "distilled to few steps without guidance (" + either(distilled.names, " and ") +
                   "), and this run has " + either(misfits, " and ") + " beside --preset " + preset.name,
               "leave out what the preset sets: steps, guidance and solver"});
  note_half(request, distilled, notes);
  const int64_t steps = steps_of(request);
  for (const Lora* lora : distilled.loras)
    if (const int wanted = lora_steps(lora->path); !preset.guides() && wanted > steps)
      notes.add({kField,
                 kLoud + name_of(*lora) + " is distilled to " + std::to_string(wanted) + " steps, and this run has " +
                     std::to_string(steps) + " (--preset " + preset.name + ")",
                 settings_for(wanted, request)});
  if (const std::vector<std::string> on = on_in_first_step(request); preset.guides() && !on.empty())
    notes.add({kField,
               std::string(preset.name) + " is made for LoRAs that are off in its first phase, and " +
                   either(on, " and ") + (on.size() > 1 ? " are on" : " is on"),
               std::string("name them as ") + preset.loras});
}

}  // namespace

void note_few_steps(const Request& request, const ModelParts& parts, Notes& notes) {
  for (Note& note : preset_notes(request)) notes.add(std::move(note));
  const Distilled distilled = distilled_of(request, parts);
  const Preset* preset = find_preset(request.preset);
  if (preset && preset->few_steps()) {
    if (distilled.names.empty())
      notes.add(none_distilled(*preset, distilled));
    else
      note_preset(*preset, request, distilled, notes);
    return;
  }
  const std::string misfit = misfit_of(request);
  if (distilled.names.empty() || misfit.empty()) return;
  notes.add({kField,
             kLoud + "distilled to few steps without guidance (" + either(distilled.names, " and ") +
                 "), and this run has " + misfit,
             way_out(request, distilled)});
}

}  // namespace wan
