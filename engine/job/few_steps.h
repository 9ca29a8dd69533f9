// Whether a job's settings and its distilled files fit together.
#pragma once

#include "engine/base/note.h"
#include "engine/request/request.h"
#include "engine/residency/parts.h"

namespace wan {

/// Notes what a preset for few steps is not given as it says; that nothing distilled is there for it, or nothing that
/// is on, or nothing for an expert that makes steps; a LoRA for more steps than a preset without guidance makes; and of
/// a distilled checkpoint or LoRA (engine/residency/distilled.h) the settings that it was not made for: more than 8
/// steps, guidance above 1 (above that of the preset's phase with guidance), another solver than euler and
/// step_distill, and without a preset, of 4 steps other noise levels or a step on the other expert.
void note_few_steps(const Request& request, const ModelParts& parts, Notes& notes);

}  // namespace wan
