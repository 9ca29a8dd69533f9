#include "kernels/linear/gelu_cuda.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>

#include "kernels/linear/launch.h"
#include "kernels/op/binding.h"

namespace wan::kernels::cuda {

std::optional<Tensor> linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias, const Context& context) {
  if (!use_fused(x, context) || !takes_dtype(x.scalar_type()) || x.numel() == 0) return std::nullopt;
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
  if (!takes_arrays(y, {}, context) || a.rows > INT32_MAX) return at::gelu_(y, "tanh");
  launch_on(y, [&](cudaStream_t stream) { return launch_bias_gelu(a, element_of(y.scalar_type()), stream); });
  return y;
}

}  // namespace wan::kernels::cuda

#else  // a build without kernels: nothing is taken

namespace wan::kernels::cuda {

std::optional<Tensor> linear_gelu(const Tensor&, const Tensor&, const Tensor&, const Context&) {
  return std::nullopt;
}

}  // namespace wan::kernels::cuda

#endif
