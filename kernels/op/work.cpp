#include "kernels/op/work.h"

#include <algorithm>

namespace wan::kernels {
namespace {

int64_t width_of(const at::Tensor& x) {
  return x.dim() == 0 ? 1 : x.size(-1);
}

int64_t rows_of(const at::Tensor& x) {
  return x.numel() / std::max<int64_t>(width_of(x), 1);
}

}  // namespace

const char* ceiling_of(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bf16" : dtype == at::kHalf ? "fp16" : dtype == at::kChar ? "int8" : "fp32";
}

RangeWork product_work(const at::Tensor& x, int64_t out, double weight_bytes, const char* ceiling) {
  const double rows = double(rows_of(x)), in = double(width_of(x)), wide = double(out);
  return {.flops = 2 * rows * in * wide,
          .bytes = double(x.nbytes()) + weight_bytes * in * wide + rows * wide * double(x.element_size()),
          .ceiling = ceiling,
          .rows = rows_of(x),
          .in = width_of(x),
          .out = out};
}

RangeWork attention_work(const at::Tensor& q, int64_t keys, const char* ceiling) {
  const double kept = double(q.nbytes()), seen = kept / double(std::max<int64_t>(q.size(1), 1)) * double(keys);
  return {.flops = 4 * double(q.numel()) * double(keys),
          .bytes = 2 * (kept + seen),
          .ceiling = ceiling,
          .rows = q.size(1),
          .in = keys,
          .out = q.size(2) * q.size(3)};
}

RangeWork pass_work(std::initializer_list<at::Tensor> tensors, double more_bytes) {
  RangeWork work{.flops = 0, .bytes = more_bytes, .ceiling = "copy"};
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    if (work.rows == 0) work.rows = rows_of(tensor), work.out = width_of(tensor);
    work.bytes += double(tensor.nbytes());
  }
  return work;
}

}  // namespace wan::kernels
