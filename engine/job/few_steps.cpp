#include "engine/job/few_steps.h"

#include <algorithm>
#include <cmath>

#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/request/presets.h"
#include "engine/request/schedule.h"
#include "engine/residency/distilled.h"
#include "engine/residency/noise_level.h"
#include "models/files/error.h"

namespace wan {

namespace {

constexpr int64_t kFewSteps = 8;

/// The names of distilled checkpoints and LoRAs.
std::vector<std::string> distilled_of(const Request& request, const ModelParts& parts) {
  std::vector<std::string> names;
  for (Network network : {Network::HighNoise, Network::LowNoise, Network::Speech})
    if (distilled_part(parts, network)) names.push_back(shown_text(parts.networks.at(network).name, 120));
  for (const Lora& lora : request.loras)
    if (const std::filesystem::path file = lora.path; distilled_lora(file))
      names.push_back(shown_text(file.filename().string(), 120));
  return names;
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

/// "27 steps and guidance up to 4"; empty where all is as a distilled model has it.
std::string misfit_of(const Request& request) {
  const Schedule schedule = make_schedule(request);
  double most = 0;
  for (const Step& step : schedule) most = std::max(most, step.guidance);
  std::vector<std::string> misfits;
  if (schedule.size() > kFewSteps) misfits.push_back(std::to_string(schedule.size()) + " steps");
  if (most > 1) misfits.push_back("guidance up to " + number_text(most));
  if (schedule.solver() != SolverKind::Euler && schedule.solver() != SolverKind::StepDistill)
    misfits.push_back("the solver " + request.solver);
  const int64_t steps = request.sigmas.empty() ? request.num_inference_steps : int64_t(request.sigmas.size());
  const Preset* const preset = request.task == Task::S2V ? nullptr : preset_of(size_t(steps));
  if (preset) add_other_than(*preset, request, schedule, misfits);
  return misfits.empty() ? "" : either(misfits, " and ");
}

/// The settings that distilled files are made for: of as many steps as the first LoRA says that says any, else of 4.
std::string way_out(const Request& request) {
  int steps = 0;
  for (const Lora& lora : request.loras)
    if (const std::filesystem::path file = lora.path; steps == 0 && distilled_lora(file)) steps = lora_steps(file);
  if (steps == 0) steps = 4;
  if (steps == 4 && request.task != Task::S2V)
    return "--preset lightning4 sets steps, sigmas, guidance and solver at once";
  return "--num-inference-steps " + std::to_string(steps) + " --guidance-scale 1 " +
         (request.task == Task::S2V ? "" : "--guidance-scale-2 1 ") + "--solver euler is what it is made for";
}

/// LoRAs that are on in the first step, though the preset's are off: those of the high-noise expert, or of none by
/// name.
std::vector<std::string> on_in_first_step(const Request& request) {
  std::vector<std::string> names;
  for (const Lora& lora : request.loras) {
    const std::string name = std::filesystem::path(lora.path).filename().string();
    const bool low = lora.transformer == "low" ||
                     (lora.transformer.empty() && noise_level({lora.path, name, ""}) == NoiseLevel::Low);
    if (!low && lora.scales.at(0) != 0 && distilled_lora(lora.path)) names.push_back(shown_text(name, 120));
  }
  return names;
}

}  // namespace

void note_few_steps(const Request& request, const ModelParts& parts, Notes& notes) {
  for (Note& note : preset_notes(request)) notes.add(std::move(note));
  const std::vector<std::string> distilled = distilled_of(request, parts);
  const Preset* preset = find_preset(request.preset);
  if (preset && preset->few_steps()) {
    if (distilled.empty())
      notes.add({"preset",
                 std::string("THE SETTINGS DO NOT FIT THE MODEL: ") + preset->name +
                     " is for models that are distilled to few steps, and no file says that it is; others give a "
                     "blurred video",
                 std::string("add ") + preset->loras + ", or name distilled checkpoints"});
    else if (const std::vector<std::string> on = on_in_first_step(request); preset->guides() && !on.empty())
      notes.add({"preset",
                 std::string(preset->name) + " is made for LoRAs that are off in its first phase, and " +
                     either(on, " and ") + (on.size() > 1 ? " are on" : " is on"),
                 std::string("name them as ") + preset->loras});
    return;
  }
  const std::string misfit = misfit_of(request);
  if (distilled.empty() || misfit.empty()) return;
  notes.add({"preset",
             "THE SETTINGS DO NOT FIT THE MODEL: distilled to few steps without guidance (" +
                 either(distilled, " and ") + "), and this run has " + misfit,
             way_out(request)});
}

}  // namespace wan
