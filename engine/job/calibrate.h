// wan-infer calibrate: renders with every step computed, and what their residuals change by, as a Calibration.
#pragma once

#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/request/calibration.h"
#include "engine/residency/contexts.h"

namespace wan {

/// Prompts that stand for what users ask for, where none are given: of text to video.
const std::vector<std::string>& calibration_prompts();

/// The sampling of the request once for each prompt, with seeds that follow each other from its own, and guidance in all
/// steps. Means over all of them. Nothing is kept of the videos; an interrupt leaves nothing. Throws what a render does;
/// std::runtime_error where a ratio cannot be told.
Calibration calibrate(const Request& request, const std::vector<std::string>& prompts, Contexts* contexts,
                      const Log& log, Progress& progress);

}  // namespace wan
