// The benchmark's networks out of a model's files, placed and run as wan-infer does. Not in builds of the core alone.
#pragma once

#include <memory>
#include <string>

#include "engine/request/request.h"
#include "kernels/op/options.h"
#include "tools/mlperf/maker.h"
#include "tools/mlperf/settings.h"

namespace wan::mlperf {

/// Looks at the model's files and plans its memory; networks are loaded when they are first asked for, and `measure`
/// does that before it counts. `model` as wan-infer's --model; `precision` a word of its --precision; `device` auto,
/// cpu or cuda. Throws ModelError and InvalidRequest.
std::unique_ptr<VideoMaker> stored_maker(const std::string& model, const std::string& precision,
                                         const std::string& device, const Settings& settings,
                                         const kernels::Options& options);

}  // namespace wan::mlperf
