// Matrix products of E4M3 codes as they are: those of a weight, and rows that are rounded to E4M3 with a scale for each. On
// cards with 8-bit floats (sm_89 and newer) by cuBLASLt on tensor cores; elsewhere the rounded rows by the widened weight,
// which are the same products and sums of another order.
// Relative L2 error of a product of 5120 channels against the same codes by the rows as they were: 2.6e-2 on Gaussian rows and
// on GELU's, 1.6e-2 with one channel 100 times as large, which is then a row's largest value and exact. E4M3 rounds each value
// by itself, so a rotation would gain nothing; 8-bit integers with theirs (kernels/linear/int8.h) come to half of it.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/dequantise/coded_matrix.h"

namespace wan::kernels {

/// Rows as E4M3: row = scale * codes.
///   codes [M, K] float8_e4m3fn; scale [M] float32, the largest magnitude / 448.
/// A row of zeros has the scale 0; one with a NaN or an infinity has no finite values.
struct Fp8Rows {
  Tensor codes, scale;
};

/// Rounds to the nearest code, halves to even. x [M, K] float32, bfloat16 or float16. Throws c10::Error on other shapes or
/// dtypes.
Fp8Rows quantise_fp8_rows(const Tensor& x);
/// The values of rows -> [M, K] in `dtype`.
Tensor widened(const Fp8Rows& rows, at::ScalarType dtype);

/// Whether linear_fp8 takes a weight: E4M3 without rotation, one float32 scale for the matrix or for each row, or none.
bool takes_fp8(const CodedMatrix& weight);

/// activation(x W^T + b) in x's dtype with x rounded as quantise_fp8_rows does, the sums in float32.
///   x [..., K] float32, bfloat16 or float16; weight [N, K] that takes_fp8; bias [N] or undefined. Rows pass kFp8RowBlock at a
/// time; without tensor cores they are rounded so, and the weight is widened once for all of them.
/// Throws c10::Error on other shapes, dtypes or weights.
Tensor linear_fp8(const Tensor& x, const CodedMatrix& weight, const Tensor& bias,
                  Activation activation = Activation::None, const Context& context = default_context());

/// Rows that pass at once, so that 75,600 tokens by 13,824 channels need no 4 GB of sums.
inline constexpr int64_t kFp8RowBlock = 2048;

/// The same in ATen (see norm.h).
namespace reference {
Tensor linear_fp8(const Tensor& x, const CodedMatrix& weight, const Tensor& bias,
                  Activation activation = Activation::None, const Context& context = default_context());
}  // namespace reference

namespace cuda {
/// Whether tensor cores of x's device multiply rows of x by the weight: an architecture with 8-bit floats, and both sizes of
/// the weight multiples of 16.
bool takes_fp8(const Tensor& x, const CodedMatrix& weight, const Context& context);
}  // namespace cuda

}  // namespace wan::kernels
