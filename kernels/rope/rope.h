// Rotary position embedding over (t, y, x). Source: rope_params and rope_apply, wan/modules/model.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// Angles of all tokens: cos and sin [L, head_dim / 2] float32, computed in float64. Columns: time, row, column
/// (22 + 21 + 21 at head_dim 128); adjacent channels (2j, 2j + 1) form the pair of column j.
struct Rope {
  Tensor cos, sin;
  int64_t tokens() const { return cos.size(0); }
};

/// positions [L, 3] int64 (t, y, x), negative t allowed (the conjugate) -> Rope on `device`.
Rope make_rope(const Tensor& positions, int64_t head_dim, at::Device device, at::ScalarType dtype = at::kFloat);
/// Positions of a grid in token order: frames, then rows, then columns -> [F * H * W, 3] int64 on the CPU.
Tensor grid_positions(int64_t frames, int64_t rows, int64_t columns);

/// x [B, L, heads, D] -> the same, rotated; computed in float32 (float64 where x is), returned in x's dtype.
Tensor apply_rope(const Tensor& x, const Rope& rope, const Context& context = default_context());

/// RMS norm of q and k over all heads together, then rotation: one op, because on CUDA it is one kernel.
///   q, k [B, L, C]; weight_q, weight_k [C]; returns {q, k} [B, L, heads, C / heads] in q's dtype.
std::pair<Tensor, Tensor> qk_norm_rope(const Tensor& q, const Tensor& k, const Tensor& weight_q, const Tensor& weight_k,
                                       const Rope& rope, int64_t heads, double eps,
                                       const Context& context = default_context());

/// The same operations in ATen (see norm.h).
namespace reference {
Tensor apply_rope(const Tensor& x, const Rope& rope);
std::pair<Tensor, Tensor> qk_norm_rope(const Tensor& q, const Tensor& k, const Tensor& weight_q, const Tensor& weight_k,
                                       const Rope& rope, int64_t heads, double eps);
}  // namespace reference

}  // namespace wan::kernels
