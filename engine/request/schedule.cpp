#include "engine/request/schedule.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "engine/request/guidance_interval.h"

namespace wan {

SolverKind solver_named(const std::string& name) {
  if (name == "unipc") return SolverKind::UniPc;
  if (name == "dpm++") return SolverKind::DpmPlusPlus;
  if (name == "euler") return SolverKind::Euler;
  if (name == "step_distill") return SolverKind::StepDistill;
  throw std::invalid_argument("[solver] must be unipc, dpm++, euler or step_distill, got " + name);
}

std::vector<float> Schedule::sigmas() const {
  std::vector<float> sigmas;
  for (const Step& step : steps_) sigmas.push_back(step.sigma);
  sigmas.push_back(last_sigma_);
  return sigmas;
}

bool Schedule::guides() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) { return step.guidance != 1; });
}

int64_t Schedule::first_low() const {
  return std::find_if(steps_.begin(), steps_.end(), [](const Step& step) { return !step.high; }) - steps_.begin();
}

std::vector<double> flow_sigmas(SolverKind solver, int64_t steps, double shift) {
  // UniPC's reference keeps 1000 levels and the top one is 1 - 1/1000, rounded to float32 and used as a double.
  const double highest = solver == SolverKind::UniPc ? double(0.999f) : 1.0;
  const double step = (0.0 - highest) / double(steps);  // numpy's linspace: i * step + start, in this order
  std::vector<double> sigmas;
  for (int64_t i = 0; i < steps; ++i) {
    const double u = double(i) * step + highest;
    sigmas.push_back(std::min(shift * u / (1 + (shift - 1) * u), 1.0));  // shift 0.08: 1 + 2^-52 without the bound
  }
  sigmas.push_back(0);
  return sigmas;
}

int64_t dense_steps(int64_t steps) {
  constexpr int64_t kDense = 14, kOf = 40;
  return (steps * kDense + kOf - 1) / kOf;
}

Schedule make_schedule(const Request& request) {
  const SolverKind solver = solver_named(request.solver);
  std::vector<double> sigmas = request.sigmas;
  if (sigmas.empty())
    sigmas = flow_sigmas(solver, request.num_inference_steps, request.shift);
  else
    sigmas.push_back(0);

  const int64_t count = int64_t(sigmas.size()) - 1;
  int64_t start = 0;
  if (request.task == Task::V2V) start = count - std::min(int64_t(double(count) * request.strength), count);

  const GuidanceInterval interval =
      request.guidance_interval.empty() ? GuidanceInterval() : read_guidance_interval(request.guidance_interval);
  std::vector<Step> steps;
  for (int64_t i = start; i < count; ++i) {
    const double level = sigmas[size_t(i)] * 1000;
    Step step{.index = i, .sigma = float(sigmas[size_t(i)])};
    const bool whole = solver == SolverKind::UniPc || solver == SolverKind::DpmPlusPlus;
    step.t = whole ? std::trunc(level) : double(float(level));
    step.high = step.t >= request.boundary * 1000;
    step.guidance = step.high ? request.guidance_scale : request.guidance_scale_2;
    if (step.t < request.guidance_until * 1000 || !interval.contains(sigmas[size_t(i)])) step.guidance = 1;
    if (i >= request.skip_softmax_dense) step.skip_softmax = request.skip_softmax;
    steps.push_back(step);
  }
  return Schedule(solver, std::move(steps));
}

}  // namespace wan
