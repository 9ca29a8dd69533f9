// What --dry-run prints: geometry, and the table of steps with expert and guidance.
#pragma once

#include <string>

#include "engine/request/request.h"
#include "engine/request/step_reuse.h"

namespace wan {

/// As text for people, or as one line of JSON: {"request": {..}, "rendered_frames": n, "steps": [{..}]}, and "notes"
/// where a preset for few steps has something to say. A LoRA has a scale in the steps of its expert alone
/// (engine/request/lora_expert.h). With acceleration regular a step lists the branches that reuse a residual, and
/// "acceleration" sums them up; `model`: of which it is. Throw InvalidRequest for a LoRA that a render refuses by its
/// name and the steps: without an expert, or with more scales than steps; and for a calibration that cannot be used.
std::string dry_run_text(const Request& request, const ReuseModel& model = {});
std::string dry_run_json(const Request& request, const ReuseModel& model = {});

}  // namespace wan
