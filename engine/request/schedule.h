// The table of denoising steps: noise levels, timesteps, and which expert works with which guidance. No tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

enum class SolverKind { UniPc, DpmPlusPlus, Euler, StepDistill };
/// unipc, dpm++, euler or step_distill, the parameter's words; std::invalid_argument otherwise.
SolverKind solver_named(const std::string& name);

/// One denoising step, from its noise level `sigma` to that of the next step.
struct Step {
  int64_t index = 0;  // in the whole schedule, also where video to video skips its beginning
  double t = 0;       // what the transformer is told: 1000 sigma, truncated; float32 for euler and step_distill
  float sigma = 0;
  bool high = true;  // the high-noise expert: t >= 1000 boundary
  double guidance = 1;
  double skip_softmax = 0;  // lambda of Skip-Softmax; 0: self-attention is dense
};

/// The steps that are run, and the solver that makes them.
class Schedule {
 public:
  Schedule(SolverKind solver, std::vector<Step> steps, float last_sigma = 0)
      : solver_(solver), steps_(std::move(steps)), last_sigma_(last_sigma) {}

  SolverKind solver() const { return solver_; }
  int64_t size() const { return int64_t(steps_.size()); }
  bool empty() const { return steps_.empty(); }
  const Step& operator[](int64_t i) const { return steps_[size_t(i)]; }
  std::vector<Step>::const_iterator begin() const { return steps_.begin(); }
  std::vector<Step>::const_iterator end() const { return steps_.end(); }
  /// Noise levels from the first step's to the one behind the last step: size() + 1 values.
  std::vector<float> sigmas() const;
  /// Whether a step needs the negative prompt.
  bool guides() const;
  /// The first index at which the low-noise expert works: the steps before it are the high-noise expert's.
  int64_t first_low() const;

 private:
  SolverKind solver_;
  std::vector<Step> steps_;
  float last_sigma_;  // behind the last step
};

/// Noise levels of a solver's table from high to 0: steps + 1 values, shifted.
/// Source: wan/utils/fm_solvers_unipc.py, fm_solvers.py get_sampling_sigmas; euler and step_distill take
/// those of dpm++.
std::vector<double> flow_sigmas(SolverKind solver, int64_t steps, double shift);

/// Of so many steps, how many stay dense where a request does not say it: 14 of 40 in proportion, rounded up.
int64_t dense_steps(int64_t steps);

/// Video to video keeps the last min(int(n * strength), n) of its n steps; that may be none. The dense steps of
/// Skip-Softmax are the first of all n.
Schedule make_schedule(const Request& request);

}  // namespace wan
