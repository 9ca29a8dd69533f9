// The norms before 8-bit linears: what they make of a row is rotated and quantised in the same pass, in float32 all the
// way, so that no row in 16 bits is written and read again.
#pragma once

#include "kernels/linear/int8.h"
#include "kernels/norm/norm.h"
#include "kernels/op/context.h"

namespace wan::kernels {

/// quantise_rows of modulated_layer_norm in float32.
///   x [B, L, C] float32, C a multiple of 128; shift, scale, ends as in norm.h; returns codes [B, L, C], scale [B, L].
/// Throws c10::Error on other shapes or dtypes.
QuantisedRows modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends,
                                        double eps, const Context& context = default_context());

/// quantise_rows of gated_residual_norm_ in float32: x takes the residual in place.
///   x, C as above; y, gate, next, ends as in norm.h.
QuantisedRows gated_residual_norm_int8_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                        const Segments& ends, const Context& context = default_context());

/// The same in ATen (see norm.h).
namespace reference {
QuantisedRows modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends,
                                        double eps);
QuantisedRows gated_residual_norm_int8_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                        const Segments& ends);
}  // namespace reference

}  // namespace wan::kernels
