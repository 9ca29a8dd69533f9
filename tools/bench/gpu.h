// The subcommands that need a card, from their suites to the report.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/op/options.h"
#include "tools/bench/report.h"

namespace wan::bench {

struct GpuOptions {
  std::vector<std::string> suites;  // of gpu_suites(), in order
  double budget_seconds = 540;
  std::string only;  // cases whose name or shape holds this; all where empty
  std::string commit, command;
  kernels::Options kernels = {};
};

/// ceilings, ops, block, step, vae, t5. Ceilings are measured before whatever is asked for.
std::vector<std::string> gpu_suites();

/// Measures on the first CUDA device, which must be there (has_device). `save` gets the report after every case, so
/// that what a run has measured outlives its end.
void measure_gpu(const GpuOptions& options, const std::function<void(const Report&)>& save);

/// The commit of the source in the current folder; "unknown" where git does not say.
std::string current_commit();

}  // namespace wan::bench
