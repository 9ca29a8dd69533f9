// Arguments and launcher of widening (kernels/op/launch.h has the rules).
#pragma once

#include "kernels/dequantise/coding.h"
#include "kernels/op/launch.h"

namespace wan::kernels {

/// What a scale is kept in.
enum class ScaleElement { Float, E4M3, E8M0 };

/// The largest group of values that the kernel rotates.
constexpr int kLargestRotation = 256;
/// Values of a block of threads: neighbours in a row.
constexpr int kWidenChunk = 4096;

/// Neighbouring rows of a matrix in codes (coded_matrix.h) as values.
struct WidenArguments {
  const uint8_t* codes;  // of the first of these rows, at any alignment
  int64_t row_bytes;
  int64_t rows, columns;       // of at most 2^31 - 1 chunks; columns at most 2^31 - 1 where there are scales
  const void* scale;           // of the whole matrix, [.., scales_a_row], or null: 1
  ScaleElement scale_element;  // of it
  int64_t first_row;           // of these rows in the matrix
  int64_t scale_rows, scale_columns, scales_a_row;
  float factor;
  int rotation;  // 0, 4, 16, 64 or 256; divides columns
  void* out;     // [rows, columns] of `element`, aligned to 16 bytes
  Element element;
};
cudaError_t launch_widen(const WidenArguments& arguments, Code code, cudaStream_t stream);

}  // namespace wan::kernels
