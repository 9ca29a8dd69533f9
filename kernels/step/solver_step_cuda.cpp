#include "kernels/step/solver_step_cuda.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/binding.h"
#include "kernels/step/launch.h"

namespace wan::kernels::cuda {

std::optional<StepSums> solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history,
                                    const StepFactors& factors, const Context& context) {
  const std::initializer_list<Tensor> read = {velocity.conditional, velocity.unconditional, history.sample,
                                              history.newest, history.older};
  if (x.scalar_type() != at::kFloat || !takes_arrays(x, read, context)) return std::nullopt;
  for (const Tensor& one : read)
    if (one.defined() && one.scalar_type() != at::kFloat) return std::nullopt;
  StepSums sums{at::empty_like(x), factors.corrector ? at::empty_like(x) : Tensor(),
                factors.predictor ? at::empty_like(x) : Tensor()};
  const auto written = [](const Tensor& y) { return y.defined() ? y.data_ptr<float>() : nullptr; };
  SolverStepArguments a{};
  a.conditional = floats(velocity.conditional);
  a.unconditional = floats(velocity.unconditional);
  a.x = floats(x);
  a.sample = floats(history.sample);
  a.newest = floats(history.newest);
  a.older = floats(history.older);
  a.guidance = float(velocity.guidance);
  a.velocity = float(factors.velocity);
  if (factors.corrector) std::copy(factors.corrector->begin(), factors.corrector->end(), a.corrector);
  if (factors.predictor) std::copy(factors.predictor->begin(), factors.predictor->end(), a.predictor);
  a.prediction = written(sums.prediction);
  a.corrected = written(sums.corrected);
  a.next = written(sums.next);
  a.size = x.numel();
  launch_on(x, [&](cudaStream_t stream) { return launch_solver_step(a, stream); });
  return sums;
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken

namespace wan::kernels::cuda {

std::optional<StepSums> solver_step(const Velocity&, const Tensor&, const StepHistory&, const StepFactors&,
                                    const Context&) {
  return std::nullopt;
}

}  // namespace wan::kernels::cuda

#endif
