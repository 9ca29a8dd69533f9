// Products so large that libraries, which count elements in 32 bits, are given them in parts of rows: the merged
// queries, keys and values of 161 frames at 720p are 2.3e9 elements.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace wan::kernels {

using at::Tensor;

/// How many of `rows` rows a library multiplies at once, so that neither operand nor result has more than `limit`
/// elements: all of them, or as equal parts as there can be. At least one.
int64_t rows_at_once(int64_t rows, int64_t in, int64_t out, int64_t limit = INT32_MAX);

/// x W^T + b in parts of `part` rows, each written into its place. Shapes as kernels::linear's; weight and bias are
/// converted to x's dtype.
Tensor linear_in_parts(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t part);

}  // namespace wan::kernels
