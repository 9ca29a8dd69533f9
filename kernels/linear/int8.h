// Matrix products with 8-bit operands: both sides rotated (hadamard.h) and quantised with one scale a row, the sums
// exact in 32-bit integers. Relative L2 error of a product of 5120 channels with Gaussian weights, the rotation of order
// 256 (in brackets order 64, which widths that 256 does not divide have): 1.2e-2 (1.2e-2) on Gaussian rows; 1.3e-2
// (1.5e-2) with every 640th channel 20 times as large and 1.2e-2 (1.7e-2) 100 times; 1.4e-2 (2.4e-2) with one channel 1000
// times as large; 1.2e-2 (1.2e-2) on rows whose mean is their deviation and on GELU's. Worst are rows that repeat a
// row of the matrix, 3.5e-2 (2.2e-2).
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/linear/linear.h"
#include "kernels/norm/norm.h"
#include "kernels/op/context.h"

namespace wan::kernels {

/// Rows as 8-bit codes: rotate(row) = scale * codes, to half a step.
///   codes [..., K] int8, from -127 to 127; scale [...] float32.
/// A row of zeros has the scale 0. A row with a NaN or an infinity has a scale that is not finite, and so have its
/// products.
///
/// Weights [N, K] are what a ConvRot checkpoint holds as int8 with a scale for each row, of group size 256 where 256
/// divides K and 64 elsewhere (is_own_rotation): such codes, which may be -128 as well, are multiplied as they are. A
/// scale of the whole matrix is expanded to its rows.
struct QuantisedRows {
  Tensor codes, scale;
};

/// The regular Hadamard matrix (regular_hadamard.h) on each group of the last axis, in float32, of the order that belongs
/// to its width: 256 where that divides it, 64 elsewhere.
///   x [..., K], K a multiple of 128. Throws c10::Error otherwise.
Tensor rotate(const Tensor& x);

/// Whether `rotate` is the rotation of this order (0 is none) for rows of `columns`: false for widths that are not
/// rotated.
bool is_own_rotation(int64_t rotation, int64_t columns);

/// Throws c10::Error unless the last axis is a multiple of 128, the widths that are rotated.
void check_slices(const char* op, const Tensor& x);

/// Rows that a GPU rotates and quantises to 8 bits.
bool takes_rotation(int64_t channels, at::ScalarType dtype);

/// Rotates and quantises: activations token by token, weights [out, K] output channel by output channel.
///   x [..., K] float32, bfloat16 or float16, K a multiple of 128. Throws c10::Error on other shapes or dtypes.
QuantisedRows quantise_rows(const Tensor& x, const Context& context = default_context());

/// activation(x W^T + b) in x's dtype, with x quantised on the way.
///   x [..., K]; weight: codes [N, K], scale [N]; bias [N] or undefined. Throws c10::Error on other shapes or dtypes.
Tensor linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                   Activation activation = Activation::None, const Context& context = default_context());

/// The same from rows that are quantised already (norm_int8.h), in `dtype`: float32, bfloat16 or float16.
///   x: codes [..., K], scale [...].
Tensor linear_int8(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias, at::ScalarType dtype,
                   Activation activation = Activation::None, const Context& context = default_context());

/// residual += gate * (x W^T + b) in place, in float32, without a rounding in between.
///   residual [B, L, N] float32; x [B, L, K]; weight and bias as above; gate [S, N] float32 or undefined (1);
///   ends [S] (norm.h).
void linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends, const Context& context = default_context());

/// The same in ATen (see norm.h). The integer part is exact on every device.
namespace reference {
QuantisedRows quantise_rows(const Tensor& x);
/// The sums of products of codes, a [M, K] and b [N, K] -> int32 [M, N].
Tensor multiply_codes(const Tensor& a, const Tensor& b);
/// x W^T + b from quantised rows, x.codes [M, K] -> float32 [M, N].
Tensor linear_int8(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias);
}  // namespace reference

}  // namespace wan::kernels
