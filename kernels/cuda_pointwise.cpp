#include <ATen/ATen.h>

#include "kernels/cuda.h"
#include "kernels/cuda_binding.h"

namespace wan::kernels::cuda {
namespace {

/// A contiguous float32 result of x's shape, by one launch over all elements.
Tensor combined(CombineArguments& a, const Tensor& x) {
  Tensor out = at::empty_like(x);
  a.out = out.data_ptr<float>();
  a.size = x.numel();
  launch_on(x, [&](cudaStream_t stream) { return launch_combine(a, stream); });
  return out;
}

}  // namespace

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

std::optional<Tensor> guide(const Tensor& unconditional, const Tensor& conditional, double guidance) {
  if (unconditional.scalar_type() != at::kFloat || conditional.scalar_type() != at::kFloat ||
      !takes_arrays(unconditional, {conditional})) {
    return std::nullopt;
  }
  CombineArguments a{};
  a.x[0] = floats(unconditional);
  a.x[1] = floats(conditional);
  a.factor[1] = float(guidance);
  a.terms = 2;
  a.guidance = true;
  return combined(a, unconditional);
}

std::optional<Tensor> weighted_sum(const std::vector<std::pair<double, Tensor>>& terms) {
  if (terms.size() > size_t(kMaxTerms)) return std::nullopt;
  CombineArguments a{};
  for (const auto& [factor, x] : terms) {
    if (x.scalar_type() != at::kFloat || !takes_arrays(x, {terms[0].second})) return std::nullopt;
    a.x[a.terms] = floats(x);
    a.factor[a.terms++] = float(factor);
  }
  return combined(a, terms[0].second);
}

}  // namespace wan::kernels::cuda
