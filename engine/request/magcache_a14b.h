// The published ratios of MagCache for Wan 2.2 A14B. Source: Zehong-Ma/MagCache, MagCache4Wan2.2/magcache_generate.py,
// lines 695 and 771 (Apache-2.0), measured by its authors in 40 steps with the official shift and guidance.
#pragma once

#include "engine/request/calibration.h"

namespace wan {

/// Of text to video, which video to video shares, and of image to video; null for speech, of which none are published.
const Calibration* magcache_a14b(Task task);

}  // namespace wan
