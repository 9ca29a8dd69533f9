// The table of denoising steps: noise levels, timesteps, and which expert works with which guidance. No tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// One denoising step, from noise level `sigma` to `sigma_next`.
struct Step {
  int64_t index = 0;  // in the whole schedule, also where video to video skips its beginning
  double t = 0;       // what the transformer is told: 1000 sigma, truncated; float32 for euler
  float sigma = 0, sigma_next = 0;
  bool high = true;  // the high-noise expert: t >= 1000 boundary
  double guidance = 1;
};

/// Noise levels of a solver's table from high to 0: steps + 1 values, shifted.
/// Source: wan/utils/fm_solvers_unipc.py, fm_solvers.py get_sampling_sigmas; euler takes those of dpm++.
std::vector<double> flow_sigmas(const std::string& solver, int64_t steps, double shift);

/// The steps that are run. Video to video keeps the last min(int(n * strength), n) of its n; that may be none.
std::vector<Step> make_schedule(const Request& request);

}  // namespace wan
