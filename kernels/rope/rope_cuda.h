// The fused rotation, bound to tensors (kernels/norm/norm_cuda.h says what such functions have in common).
#pragma once

#include <optional>
#include <utility>

#include "kernels/rope/rope.h"

namespace wan::kernels {

/// Rows of q and k, normed over all heads and rotated in pairs.
bool takes_rope(int64_t heads, int64_t head_dim, at::ScalarType dtype);

namespace cuda {

std::optional<Tensor> apply_rope(const Tensor& x, const Rope& rope, const Context& context = default_context());
std::optional<std::pair<Tensor, Tensor>> qk_norm_rope(const Tensor& q, const Tensor& k, const Tensor& weight_q,
                                                      const Tensor& weight_k, const Rope& rope, int64_t heads,
                                                      double eps, const Context& context = default_context());

}  // namespace cuda
}  // namespace wan::kernels
