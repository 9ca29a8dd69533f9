// Matrices in the codes of a checkpoint, with their scales beside them: their values, and products that widen them tile
// by tile, so that no second whole copy is ever made.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/dequantise/coding.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/regular_hadamard.h"
#include "kernels/op/context.h"

namespace wan::kernels {

/// W [N, K] as codes. A value is, in float32 and rounded after each product,
///   code * scale[row / scale_rows, column / scale_columns] * factor,
/// and with a rotation each group of `rotation` values of a row is multiplied by the regular Hadamard matrix of that order
/// afterwards.
struct CodedMatrix {
  int64_t rows() const { return codes.size(0); }
  /// Of codes and scales, on their device.
  uint64_t bytes() const;

  const Coding* coding;  // of the codes
  int64_t columns;       // K, a whole number of blocks
  Tensor codes;  // [N, K / coding->elements * coding->bytes] uint8, contiguous; on the CPU it may be a mapped file
  /// [ceil(N / scale_rows), ceil(K / scale_columns)], contiguous, float32, float8_e4m3fn or float8_e8m0fnu; undefined: 1.
  Tensor scale = {};
  int64_t scale_rows = 1, scale_columns = 1;
  float factor = 1;
  int64_t rotation = 0;  // 0, or a power of 4 that divides K
};

/// Throws c10::Error for sizes, dtypes or devices that contradict each other.
void check_coded(const char* op, const CodedMatrix& matrix);

/// The values of rows `first` to `first + count - 1` -> [count, K] in `dtype` (float32, bfloat16 or float16), rounded once
/// from float32. Throws c10::Error for rows that are not there.
Tensor widen(const CodedMatrix& matrix, int64_t first, int64_t count, at::ScalarType dtype,
             const Context& context = default_context());

/// activation(x W^T + b) in x's dtype, W widened to it in tiles of rows.
///   x [..., K] float32, bfloat16 or float16; bias [N] or undefined. Throws c10::Error on other shapes or dtypes.
Tensor linear_coded(const Tensor& x, const CodedMatrix& weight, const Tensor& bias,
                    Activation activation = Activation::None, const Context& context = default_context());

/// The largest tile of widened rows that linear_coded makes, in bytes.
inline constexpr int64_t kWidenedTileBytes = 64 << 20;

/// The same in ATen (see norm.h).
namespace reference {
Tensor widen(const CodedMatrix& matrix, int64_t first, int64_t count, at::ScalarType dtype);
}  // namespace reference

}  // namespace wan::kernels
