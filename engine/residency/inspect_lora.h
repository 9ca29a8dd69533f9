// What `wan-infer inspect` says of a LoRA.
#pragma once

#include <string>

#include "engine/residency/parts.h"
#include "models/weights/lora/description.h"

namespace wan {

struct InspectedLora {
  lora::Description file;
  std::string expert;      // "high", "low" or "both", which its name or its keys say; empty: nothing does
  std::string unclear;     // without an expert, what is wrong with the name (without_level)
  bool distilled = false;  // to few steps (engine/residency/distilled.h)
  int steps = 0;           // of a distilled one, as lora_steps
};

/// Reads headers and alphas. Throws ModelError as lora::describe.
InspectedLora inspect_lora(const ModelPart& part);

}  // namespace wan
