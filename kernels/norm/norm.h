// Norms, modulation and gated residuals: the elementwise half of a transformer block.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/op/context.h"

namespace wan::kernels {

using at::Tensor;

/// Ends of the segments of tokens that share one modulation row: {L} normally, {noisy, L} with speech.
using Segments = std::vector<int64_t>;

/// y = x / sqrt(mean(x^2) + eps) * weight over the last axis, sums in float32.
///   x [..., C] float32 or bfloat16 (float64 on the CPU); weight [C], any float dtype; returns x's shape and dtype.
/// Source: WanRMSNorm (wan/modules/model.py), T5LayerNorm (wan/modules/t5.py).
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps, const Context& context = default_context());

/// LayerNorm with affine weight and bias over the last axis, in float32; returns `dtype`.
///   x [..., C] float32; weight, bias [C] float32 or undefined.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, at::ScalarType dtype,
                  const Context& context = default_context());

/// LayerNorm without affine, then modulation: y = norm(x) * (1 + scale) + shift, in float32; returns `dtype`.
///   x [B, L, C] float32; shift, scale [S, C] float32, one row for each segment; ends [S], ends.back() == L.
/// Throws c10::Error on other shapes or dtypes. Source: WanAttentionBlock, norm1 and norm2.
Tensor modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends, double eps,
                            at::ScalarType dtype, const Context& context = default_context());

/// x += gate * y in place, in float32: the residual stream. An undefined gate is 1 (cross-attention).
/// Where x takes part in a gradient, x becomes a new tensor instead, since its norm has kept the old one.
///   x [B, L, C] float32 (float64 on the CPU); y [B, L, C] float32 or bfloat16; gate [S, C] float32 or undefined.
void gated_residual_(Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends,
                     const Context& context = default_context());

/// gated_residual_ and the norm of the next sub-layer in one pass over x.
/// With `shift` and `scale`: modulated_layer_norm of the new x; else layer_norm with `weight` and `bias`.
struct NextNorm {
  Tensor weight, bias;  // affine, or
  Tensor shift, scale;  // modulation rows [S, C]
  double eps;
};
Tensor gated_residual_norm_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next, const Segments& ends,
                            at::ScalarType dtype, const Context& context = default_context());

/// The same operations in ATen: the CPU path, the oracle of the tests, and the fallback for what a fused kernel does
/// not take.
namespace reference {
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, at::ScalarType dtype);
Tensor modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends, double eps,
                            at::ScalarType dtype);
void gated_residual_(Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends);
Tensor gated_residual_norm_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next, const Segments& ends,
                            at::ScalarType dtype);
}  // namespace reference

}  // namespace wan::kernels
