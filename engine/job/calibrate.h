// wan-infer calibrate: renders with every step computed, and what their residuals change by, as a Calibration.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/job/work_folder.h"
#include "engine/request/calibration.h"
#include "engine/residency/contexts.h"

namespace wan {

/// Prompts that stand for what users ask for, where none are given: of text to video.
const std::vector<std::string>& calibration_prompts();

struct CalibrateOptions {
  bool fresh = false;                                              // discard what the folder has
  std::chrono::milliseconds save_every = std::chrono::minutes(1);  // the longest time between saved states
  Contexts* contexts = nullptr;                                    // RunOptions::contexts
};

/// The sampling of the request once for each prompt, with seeds that follow each other from its own, and guidance in all
/// steps. Means over all of them. `folder` keeps what is measured: a later call with the same arguments goes on there and
/// finds the same; of a request whose seed was drawn it takes the seed that was drawn first. The caller discards the folder
/// once the calibration is safe; after a failure it is discarded here where it holds nothing of use. Throws what a render
/// does; Cancelled, whose text says what is kept; InvalidRequest where no expert makes two steps, or naming "out" where the
/// folder has unfinished work of other arguments; std::runtime_error where a ratio cannot be told.
Calibration calibrate(const Request& request, const std::vector<std::string>& prompts, WorkFolder& folder,
                      const CalibrateOptions& options, const Log& log, Progress& progress);

}  // namespace wan
