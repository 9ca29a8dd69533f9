#include "engine/job/few_steps.h"

#include <algorithm>

#include "engine/base/text.h"
#include "engine/request/params.h"
#include "engine/request/presets.h"
#include "engine/request/schedule.h"
#include "engine/residency/distilled.h"
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
    if (const std::filesystem::path file = lora.path; distilled_file(file))
      names.push_back(shown_text(file.filename().string(), 120));
  return names;
}

/// "27 steps and guidance up to 4"; empty where both are a distilled model's.
std::string misfit_of(const Schedule& schedule) {
  double most = 0;
  for (const Step& step : schedule) most = std::max(most, step.guidance);
  std::string text;
  if (schedule.size() > kFewSteps) text = std::to_string(schedule.size()) + " steps";
  if (most > 1) text += (text.empty() ? "" : " and ") + ("guidance up to " + number_text(most));
  return text;
}

}  // namespace

void note_few_steps(const Request& request, const ModelParts& parts, Notes& notes) {
  for (Note& note : preset_notes(request)) notes.add(std::move(note));
  const std::vector<std::string> distilled = distilled_of(request, parts);
  const Preset* preset = find_preset(request.preset);
  if (preset && preset->few_steps()) {
    if (distilled.empty())
      notes.add({"preset", std::string("THE SETTINGS DO NOT FIT THE MODEL: ") + preset->name +
                               " is for models that are distilled to few steps, and no file says that it is; others give a "
                               "blurred video",
                 std::string("add ") + preset->loras + ", or name distilled checkpoints"});
    else if (preset->guides())
      notes.add({"preset", std::string(preset->name) + " is made for LoRAs that are off in its first phase: " + preset->loras});
    return;
  }
  const std::string misfit = misfit_of(make_schedule(request));
  if (distilled.empty() || misfit.empty()) return;
  notes.add({"preset",
             "THE SETTINGS DO NOT FIT THE MODEL: distilled to few steps without guidance (" +
                 either(distilled, " and ") + "), and this run has " + misfit,
             request.task == Task::S2V ? "--num-inference-steps 4 --guidance-scale 1 --solver euler is what it is made for"
                                       : "--preset lightning4 sets steps, sigmas, guidance and solver at once"});
}

}  // namespace wan
