// What the stages of a job report to and obey.
#pragma once

#include <chrono>
#include <string>

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
};

}  // namespace wan
