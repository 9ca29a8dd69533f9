// Codes that this program makes of a matrix: one scale for each row, widened again at use.
#pragma once

#include "kernels/dequantise/coded_matrix.h"

namespace wan {

/// The order of the rotation for rows of that many columns: the largest of 256, 64, 16 and 4 that divides them; 0, where
/// none does: they are not rotated.
int64_t rotation_of(int64_t columns);

/// Memory for [rows, columns] in such codes, not filled.
///   code: E4M3, scale = largest magnitude / 448; or Int8, scale = largest magnitude / 127, of rows whose groups of
///   rotation_of(columns) are rotated (kernels::regular_hadamard).
kernels::CodedMatrix row_codes(kernels::Code code, int64_t rows, int64_t columns, at::Device device);

/// Quantises `values` [n, columns] float32, on the device of `to`, into its rows from `first` on. A value of E4M3 is off by
/// at most 1/16 of itself or 1/1024 of the scale; one of int8, before it is rotated back, by half a scale. A row of zeros
/// has the scale 0; one with a NaN or an infinity has no finite values afterwards.
void quantise_into(kernels::CodedMatrix& to, int64_t first, const at::Tensor& values);

}  // namespace wan
