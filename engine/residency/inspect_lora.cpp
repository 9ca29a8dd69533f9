#include "engine/residency/inspect_lora.h"

#include "engine/residency/distilled.h"
#include "engine/residency/noise_level.h"

namespace wan {

InspectedLora inspect_lora(const ModelPart& part) {
  InspectedLora found{.file = lora::describe(part.path), .expert = "", .distilled = false};
  if (const auto level = noise_level(part)) found.expert = *level == NoiseLevel::High ? "high" : "low";
  found.distilled = distilled(part.path.filename().string(), found.file.metadata) || distilled(part.name);
  return found;
}

}  // namespace wan
