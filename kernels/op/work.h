// What operations do to memory and arithmetic, for ranges (range.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>

#include "kernels/op/range.h"

namespace wan::kernels {

/// The ceiling of products in a dtype: "bf16", "fp16", "int8", else "fp32".
const char* ceiling_of(at::ScalarType dtype);
/// x [..., in] times a matrix of `out` rows whose elements have so many bytes.
RangeWork product_work(const at::Tensor& x, int64_t out, double weight_bytes, const char* ceiling);
/// Attention of q [B, Lq, H, D] to `keys` keys; both products.
RangeWork attention_work(const at::Tensor& q, int64_t keys, const char* ceiling);
/// A pass over memory that reads or writes each of these once; undefined ones do not count. Sizes are the first one's:
/// rows and channels.
RangeWork pass_work(std::initializer_list<at::Tensor> tensors, double more_bytes = 0);

}  // namespace wan::kernels
