// What drawing frames between others takes of a job's time.
#pragma once

#include "engine/request/interpolation.h"
#include "engine/residency/device.h"
#include "engine/residency/extent.h"
#include "engine/residency/machine.h"
#include "engine/residency/parts.h"
#include "engine/residency/plan.h"

namespace wan {

/// The phase "film" or "rife": seconds from the FLOPs of the convolutions on whole frames, as if no pair stood still or was
/// cut. Frames are drawn while others are decoded, on one device, so that both take their time; bytes are those of
/// `decode`, which has counted them. `how` is on. Reads headers alone. Throws ModelError.
PhasePlan drawing_phase(const Interpolation& how, const InterpolatorPart& part, const Placement& placement,
                        const Extent& extent, const Machine& machine, const PhasePlan& decode);

}  // namespace wan
