#include "kernels/dequantise/coded_matrix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/op/check.h"
#include "kernels/op/takes.h"

namespace wan::kernels {
namespace {

int64_t tiles(int64_t size, int64_t tile) {
  return (size + tile - 1) / tile;
}

/// The codes of rows as float32 on the CPU, by all threads.
Tensor widened_codes(const CodedMatrix& matrix, int64_t first, int64_t count) {
  constexpr int64_t kPieceElements = 1 << 16;
  const Coding& coding = *matrix.coding;
  const int64_t blocks = matrix.columns / coding.elements;
  const Tensor values = at::empty({count, matrix.columns}, at::kFloat);
  const Tensor codes = matrix.codes.narrow(0, first, count).cpu();
  const auto* from = codes.const_data_ptr<uint8_t>();
  float* to = values.mutable_data_ptr<float>();
  at::parallel_for(0, count * blocks, std::max<int64_t>(kPieceElements / coding.elements, 1),
                   [&](int64_t begin, int64_t end) {
                     coding.widen(from + begin * coding.bytes, end - begin, to + begin * coding.elements);
                   });
  return values;
}

/// The scale of each value of these rows, as a view or copy that broadcasts over [count, K].
Tensor scale_of(const CodedMatrix& matrix, int64_t first, int64_t count) {
  const Tensor rows = at::arange(first, first + count, at::kLong).div_(matrix.scale_rows, "floor");
  const Tensor scale = matrix.scale.cpu().index_select(0, rows).to(at::kFloat);
  if (scale.size(1) == 1) return scale;
  return scale.repeat_interleave(matrix.scale_columns, 1).narrow(1, 0, matrix.columns);
}

}  // namespace

uint64_t CodedMatrix::bytes() const {
  return codes.nbytes() + (scale.defined() ? scale.nbytes() : 0);
}

void check_coded(const char* op, const CodedMatrix& matrix) {
  TORCH_CHECK(matrix.coding && matrix.columns > 0 && matrix.columns % matrix.coding->elements == 0, "[", op,
              "] rows must be whole blocks, have ", matrix.columns, " values");
  check_dtype(op, "codes", matrix.codes, {at::kByte});
  check_shape(op, "codes", matrix.codes, {kAny, matrix.columns / matrix.coding->elements * matrix.coding->bytes});
  TORCH_CHECK(matrix.codes.is_contiguous(), "[", op, "] codes must be contiguous");
  TORCH_CHECK(matrix.rotation == 0 || (is_regular_order(matrix.rotation) && matrix.columns % matrix.rotation == 0), "[",
              op, "] the rotation must be a power of 4 that divides ", matrix.columns, ", is ", matrix.rotation);
  if (!matrix.scale.defined()) return;
  check_dtype(op, "scale", matrix.scale, {at::kFloat, at::kFloat8_e4m3fn, at::kFloat8_e8m0fnu});
  TORCH_CHECK(matrix.scale_rows > 0 && matrix.scale_columns > 0, "[", op, "] a scale must cover something");
  check_shape(op, "scale", matrix.scale,
              {tiles(matrix.rows(), matrix.scale_rows), tiles(matrix.columns, matrix.scale_columns)});
  TORCH_CHECK(matrix.scale.is_contiguous() && matrix.scale.device() == matrix.codes.device(), "[", op,
              "] scale must be contiguous on ", matrix.codes.device());
}

Tensor widen(const CodedMatrix& matrix, int64_t first, int64_t count, at::ScalarType dtype, const Context&) {
  check_coded("widen", matrix);
  TORCH_CHECK(first >= 0 && count >= 0 && first <= matrix.rows() && count <= matrix.rows() - first, "[widen] rows ",
              first, " to ", first + count, " must be of ", matrix.rows());
  TORCH_CHECK(takes_dtype(dtype), "[widen] dtype must be Float, BFloat16 or Half, got ", dtype);
  return reference::widen(matrix, first, count, dtype);
}

Tensor linear_coded(const Tensor& x, const CodedMatrix& weight, const Tensor& bias, Activation activation,
                    const Context& context) {
  check_coded("linear_coded", weight);
  check_trailing("linear_coded", "x", x, {weight.columns});
  check_dtype("linear_coded", "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  if (bias.defined()) check_shape("linear_coded", "bias", bias, {weight.rows()});
  const int64_t tile = std::clamp<int64_t>(kWidenedTileBytes / (weight.columns * x.element_size()), 1, weight.rows());
  if (tile >= weight.rows())
    return linear(x, widen(weight, 0, weight.rows(), x.scalar_type(), context), bias, activation, context);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.rows();
  const Tensor out = at::empty(sizes, x.options());
  for (int64_t first = 0; first < weight.rows(); first += tile) {
    const int64_t count = std::min(tile, weight.rows() - first);
    const Tensor some = bias.defined() ? bias.narrow(0, first, count) : bias;
    out.narrow(-1, first, count)
        .copy_(linear(x, widen(weight, first, count, x.scalar_type(), context), some, activation, context));
  }
  return out;
}

namespace reference {

Tensor widen(const CodedMatrix& matrix, int64_t first, int64_t count, at::ScalarType dtype) {
  if (matrix.codes.is_meta()) return at::empty({count, matrix.columns}, matrix.codes.options().dtype(dtype));
  Tensor values = widened_codes(matrix, first, count);
  if (matrix.scale.defined()) values.mul_(scale_of(matrix, first, count));
  if (matrix.factor != 1) values.mul_(matrix.factor);
  if (matrix.rotation) values = regular_hadamard(values, matrix.rotation);
  return values.to(dtype).to(matrix.codes.device());
}

}  // namespace reference
}  // namespace wan::kernels
