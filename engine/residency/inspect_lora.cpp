#include "engine/residency/inspect_lora.h"

#include "engine/residency/distilled.h"
#include "engine/residency/noise_level.h"

namespace wan {

InspectedLora inspect_lora(const ModelPart& part) {
  InspectedLora found{.file = lora::describe(part.path), .expert = "", .unclear = "", .distilled = false, .steps = 0};
  if (const auto level = noise_level(part)) found.expert = *level == NoiseLevel::High ? "high" : "low";
  if (found.file.halves.low) found.expert = found.file.halves.high ? "both" : "low";
  if (found.expert.empty()) found.unclear = without_level(part);
  found.distilled = distilled_lora(part.path) || distilled(part.name);
  if (found.distilled) found.steps = lora_steps(part.path);
  return found;
}

}  // namespace wan
