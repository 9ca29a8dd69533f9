// What the stages of a job report to and obey.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "kernels/op/context.h"

namespace wan {

struct Run {
  const Log& log;
  Progress& progress;                                              // asked before each step of work; throws Cancelled
  std::string label = {};                                          // of the job in reports; empty for one alone
  std::chrono::milliseconds save_every = std::chrono::minutes(1);  // the longest time between saved states
  const kernels::Context& kernels = kernels::default_context();    // of the steps; networks have that of their weights
  /// After each denoising step, from 0: what it takes the clean latents for, [16, T, h, w] on the device, which is not to be
  /// written to. What it throws ends the run. Empty: nothing is made for it.
  std::function<void(const at::Tensor& estimate, int64_t step)> on_estimate = {};
  std::vector<double> shares = {};  // Report::share of each step of denoising; empty: steps are alike
};

}  // namespace wan
