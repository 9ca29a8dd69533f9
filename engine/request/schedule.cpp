#include "engine/request/schedule.h"

#include <algorithm>
#include <cmath>

namespace wan {

std::vector<double> flow_sigmas(const std::string& solver, int64_t steps, double shift) {
  // UniPC's reference keeps 1000 levels and the top one is 1 - 1/1000, rounded to float32 and used as a double.
  const double highest = solver == "unipc" ? double(0.999f) : 1.0;
  const double step = (0.0 - highest) / double(steps);  // numpy's linspace: i * step + start, in this order
  std::vector<double> sigmas;
  for (int64_t i = 0; i < steps; ++i) {
    const double u = double(i) * step + highest;
    sigmas.push_back(shift * u / (1 + (shift - 1) * u));
  }
  sigmas.push_back(0);
  return sigmas;
}

std::vector<Step> make_schedule(const Request& request) {
  std::vector<double> sigmas = request.sigmas;
  if (sigmas.empty())
    sigmas = flow_sigmas(request.solver, request.num_inference_steps, request.shift);
  else
    sigmas.push_back(0);

  const int64_t steps = int64_t(sigmas.size()) - 1;
  int64_t start = 0;
  if (request.task == Task::V2V) start = steps - std::min(int64_t(double(steps) * request.strength), steps);

  std::vector<Step> schedule;
  for (int64_t i = start; i < steps; ++i) {
    const double level = sigmas[i] * 1000;
    Step step{.index = i, .sigma = float(sigmas[i]), .sigma_next = float(sigmas[i + 1])};
    step.t = request.solver == "euler" ? double(float(level)) : std::trunc(level);
    step.high = step.t >= request.boundary * 1000;
    step.guidance = step.high ? request.guidance_scale : request.guidance_scale_2;
    schedule.push_back(step);
  }
  return schedule;
}

}  // namespace wan
