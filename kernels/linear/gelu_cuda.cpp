#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/binding.h"
#include "kernels/op/cuda.h"

namespace wan::kernels::cuda {

std::optional<Tensor> linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!use_fused(x) || !takes_dtype(x.scalar_type()) || x.numel() == 0) return std::nullopt;
  const Tensor matrix = weight.to(x.scalar_type());
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  if (bias.defined()) {
    // cuBLASLt's epilogue, whose GELU is the tanh form (on the CPU this operation is the erf form).
    const Tensor rows = x.reshape({-1, x.size(-1)});
    return at::_addmm_activation(bias.to(x.scalar_type()), rows, matrix.t(), 1, 1, /*use_gelu=*/true).view(shape);
  }
  Tensor y = at::linear(x, matrix);
  const BiasGeluArguments a{y.data_ptr(), nullptr, y.numel() / y.size(-1), int(y.size(-1))};
  if (!takes_arrays(y, {}) || a.rows > INT32_MAX) return at::gelu_(y, "tanh");
  launch_on(y, [&](cudaStream_t stream) { return launch_bias_gelu(a, element_of(y.scalar_type()), stream); });
  return y;
}

std::optional<StepSums> solver_step(const Velocity& velocity, const Tensor& x, const StepHistory& history,
                                    const StepFactors& factors) {
  const std::initializer_list<Tensor> read = {velocity.conditional, velocity.unconditional, history.sample,
                                              history.newest, history.older};
  if (x.scalar_type() != at::kFloat || !takes_arrays(x, read)) return std::nullopt;
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
