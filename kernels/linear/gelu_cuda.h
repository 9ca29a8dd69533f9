// A product with a GELU behind it (kernels/norm/norm_cuda.h says what such functions have in common).
#pragma once

#include <optional>

#include "kernels/linear/linear.h"

namespace wan::kernels::cuda {

/// Other activations are ATen's already.
std::optional<Tensor> linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                  const Context& context = default_context());

}  // namespace wan::kernels::cuda
