#include "kernels/step/solver_step.h"

#include <ATen/ATen.h>

#include "kernels/op/check.h"
#include "kernels/op/work.h"
#include "kernels/step/solver_step_cuda.h"

namespace wan::kernels {
namespace {

/// The part of the history that the factors ask for, each with x's shape.
StepHistory asked_for(const StepHistory& history, const StepFactors& factors, const Tensor& x) {
  const auto take = [&](bool asked, const char* name, const Tensor& tensor) {
    if (asked) check_shape("solver_step", name, tensor, x.sizes());
    return asked ? tensor : Tensor();
  };
  const auto corrector = factors.corrector.value_or(std::array<double, 4>{});
  const auto predictor = factors.predictor.value_or(std::array<double, 3>{});
  return {take(factors.corrector.has_value(), "the last sample", history.sample),
          take(corrector[1] != 0 || predictor[2] != 0, "the newest prediction", history.newest),
          take(corrector[2] != 0, "the older prediction", history.older)};
}

}  // namespace

Tensor guided(const Velocity& velocity) {
  const auto& [conditional, unconditional, guidance] = velocity;
  return unconditional.defined() ? unconditional + guidance * (conditional - unconditional) : conditional;
}

StepSums solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history, const StepFactors& factors,
                     const Context& context) {
  check_shape("solver_step", "the velocity", velocity.conditional, x.sizes());
  if (velocity.unconditional.defined())
    check_shape("solver_step", "the unconditional velocity", velocity.unconditional, x.sizes());
  const StepHistory asked = asked_for(history, factors, x);
  const Range range("solver_step", [&] {
    return pass_work({x, velocity.conditional, velocity.unconditional, asked.sample, asked.newest, asked.older, x});
  });
  if (auto sums = cuda::solver_step(velocity, x, asked, factors, context)) return *sums;
  return reference::solver_step(velocity, x, asked, factors);
}

StepSums reference::solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history,
                                const StepFactors& factors) {
  StepSums sums;
  sums.prediction = at::add(x, guided(velocity), factors.velocity);
  const auto add = [](Tensor& sum, double factor, const Tensor& term) {
    if (factor != 0) sum.add_(term, factor);
  };
  if (const auto& corrector = factors.corrector) {
    sums.corrected = history.sample * (*corrector)[0];
    add(sums.corrected, (*corrector)[1], history.newest);
    add(sums.corrected, (*corrector)[2], history.older);
    add(sums.corrected, (*corrector)[3], sums.prediction);
  }
  if (const auto& predictor = factors.predictor) {
    sums.next = (sums.corrected.defined() ? sums.corrected : x) * (*predictor)[0];
    add(sums.next, (*predictor)[1], sums.prediction);
    add(sums.next, (*predictor)[2], history.newest);
  }
  return sums;
}

}  // namespace wan::kernels
