#include "kernels/dequantise/coded_matrix.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "kernels/dequantise/dequantise_cuda.h"
#include "kernels/dequantise/launch.h"
#include "kernels/dequantise/value_loops.h"
#include "kernels/op/check.h"
#include "kernels/op/first_use.h"
#include "kernels/op/pieces.h"
#include "kernels/op/takes.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

/// Values that a thread widens at once: 128 KiB in float32.
constexpr int64_t kPieceValues = int64_t(1) << 15;

int64_t tiles(int64_t size, int64_t tile) {
  return (size + tile - 1) / tile;
}

/// The scales of rows of a matrix, on the CPU.
struct RowScales {
  RowScales(const CodedMatrix& matrix, int64_t first, int64_t count) : matrix(matrix), first(first) {
    if (!matrix.scale.defined()) return;
    from = first / matrix.scale_rows;
    scales = matrix.scale.narrow(0, from, (first + count - 1) / matrix.scale_rows - from + 1).cpu().to(at::kFloat);
  }

  /// Multiplies the values `begin` to `end - 1` of the rows, counted from the first row's first.
  void apply(int64_t begin, int64_t end, float* values) const {
    if (!scales.defined()) return;
    const int64_t columns = matrix.columns, each = matrix.scale_columns, across = scales.size(1);
    const auto* scale = scales.const_data_ptr<float>();
    for (int64_t at = begin; at < end;) {
      const int64_t row = at / columns, column = at % columns, tile = column / each;
      const int64_t run = std::min({end - at, columns - column, (tile + 1) * each - column});
      multiply(values + (at - begin), run, scale[((first + row) / matrix.scale_rows - from) * across + tile]);
      at += run;
    }
  }

  const CodedMatrix& matrix;
  int64_t first, from = 0;
  Tensor scales;
};

/// The values of rows to `out` [count, K] on the CPU, piece by piece on all threads.
void widen_on_cpu(const CodedMatrix& matrix, int64_t first, const Tensor& out) {
  if (out.numel() == 0) return;
  const Coding& coding = *matrix.coding;
  const RowScales scales(matrix, first, out.size(0));
  const Tensor codes = matrix.codes.narrow(0, first, out.size(0)).cpu(), flat = out.view({-1});
  const auto* from = codes.const_data_ptr<uint8_t>();
  // Both are powers of two, so that no piece cuts a block or a group.
  const int64_t piece = std::max<int64_t>(kPieceValues, matrix.rotation);
  in_pieces(tiles(flat.numel(), piece), [&](int64_t i) {
    const int64_t begin = i * piece, end = std::min(begin + piece, flat.numel());
    const Tensor to = flat.narrow(0, begin, end - begin),
                 wide = at::kFloat == to.scalar_type() ? to : at::empty(end - begin, at::kFloat);
    auto* values = wide.data_ptr<float>();
    coding.widen(from + begin / coding.elements * coding.bytes, (end - begin) / coding.elements, values);
    scales.apply(begin, end, values);
    if (matrix.factor != 1) multiply(values, end - begin, matrix.factor);
    if (matrix.rotation) rotate_groups(values, end - begin, matrix.rotation);
    if (!wide.is_same(to)) to.copy_(wide);
  });
}

/// Throws where the kernel's first row is another than the reference's, once for each code, dtype and rotation.
void check_widened(const CodedMatrix& matrix, int64_t first, const Tensor& out, const Context& context) {
  const std::string shape = std::string(matrix.coding->name) + " to " + c10::toString(out.scalar_type()) +
                            (matrix.rotation ? " in groups of " + std::to_string(matrix.rotation) : "");
  const auto error = [&]() -> std::optional<double> {
    const Tensor want = reference::widen(matrix, first, 1, out.scalar_type()).cpu().to(at::kDouble);
    const double size = want.norm().item<double>();
    if (!std::isfinite(size)) return std::nullopt;
    return (out.narrow(0, 0, 1).cpu().to(at::kDouble) - want).norm().item<double>() / std::max(size, 1e-30);
  };
  check_first_use("widen", shape, out.device(), 0, error, "WAN_KERNELS=reference is slow and right", context);
}

/// Widens the rows from `first` on to `out`, on the codes' device.
void widen_to(const CodedMatrix& matrix, int64_t first, const Tensor& out, const Context& context) {
  if (out.numel() == 0) return;
  if (cuda::widen_rows(matrix, first, out, context)) return check_widened(matrix, first, out, context);
  if (matrix.rotation > kLargestRotation && out.is_cuda()) {  // ATen rotates what the kernel does not
    CodedMatrix stored = matrix;
    stored.rotation = 0;
    const Tensor values = at::empty(out.sizes(), out.options().dtype(at::kFloat));
    widen_to(stored, first, values, context);
    out.copy_(regular_hadamard(values, matrix.rotation));
    return;
  }
  if (out.is_cpu())
    widen_on_cpu(matrix, first, out);
  else
    out.copy_(reference::widen(matrix, first, out.size(0), out.scalar_type()));
}

/// slice = rows W^T + bias on CUDA, written where it belongs: columns of a wider matrix.
void multiply_into(Tensor slice, const Tensor& rows, const Tensor& matrix, const Tensor& bias) {
  if (bias.defined())
    at::addmm_out(slice, bias, rows, matrix.t());
  else
    at::mm_out(slice, rows, matrix.t());
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

Tensor widen(const CodedMatrix& matrix, int64_t first, int64_t count, at::ScalarType dtype, const Context& context) {
  check_coded("widen", matrix);
  TORCH_CHECK(first >= 0 && count >= 0 && first <= matrix.rows() && count <= matrix.rows() - first, "[widen] rows ",
              first, " to ", first + count, " must be of ", matrix.rows());
  TORCH_CHECK(takes_dtype(dtype), "[widen] dtype must be Float, BFloat16 or Half, got ", dtype);
  const Range range("widen", [&] {
    const double part = double(count) / double(std::max<int64_t>(matrix.rows(), 1));
    const int64_t values = count * matrix.columns;
    return RangeWork{.flops = 0,
                     .bytes = part * double(matrix.codes.nbytes()) + double(values * int64_t(c10::elementSize(dtype))),
                     .ceiling = "copy",
                     .rows = count,
                     .in = 0,
                     .out = matrix.columns};
  });
  if (matrix.codes.is_meta()) return reference::widen(matrix, first, count, dtype);
  const Tensor out = at::empty({count, matrix.columns}, matrix.codes.options().dtype(dtype));
  widen_to(matrix, first, out, context);
  return out;
}

Tensor linear_coded(const Tensor& x, const CodedMatrix& weight, const Tensor& bias, Activation activation,
                    const Context& context) {
  check_coded("linear_coded", weight);
  check_trailing("linear_coded", "x", x, {weight.columns});
  check_dtype("linear_coded", "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  if (bias.defined()) check_shape("linear_coded", "bias", bias, {weight.rows()});
  const Range range("linear_coded", [&] { return product_work(x, weight.rows(), 1, ceiling_of(x.scalar_type())); });
  const int64_t tile = std::clamp<int64_t>(kWidenedTileBytes / (weight.columns * x.element_size()), 1, weight.rows());
  if (tile >= weight.rows())
    return linear(x, widen(weight, 0, weight.rows(), x.scalar_type(), context), bias, activation, context);
  const Tensor rows = x.reshape({-1, weight.columns}), out = at::empty({rows.size(0), weight.rows()}, x.options());
  const Tensor scratch = at::empty({tile, weight.columns}, x.options());
  const Tensor offset = bias.defined() ? bias.to(x.scalar_type()) : bias;
  // The GELU's kernel adds the bias itself.
  const bool gelu = activation == Activation::GeluTanh;
  for (int64_t first = 0; first < weight.rows(); first += tile) {
    const int64_t count = std::min(tile, weight.rows() - first);
    const Tensor matrix = scratch.narrow(0, 0, count), slice = out.narrow(1, first, count),
                 some = offset.defined() ? offset.narrow(0, first, count) : offset;
    widen_to(weight, first, matrix, context);
    if (x.is_cuda())
      multiply_into(slice, rows, matrix, gelu ? Tensor() : some);
    else
      slice.copy_(linear(rows, matrix, some, activation, context));
  }
  if (x.is_cuda() && !(gelu && cuda::add_bias_gelu_(out, offset, context)))
    reference::activated(gelu && offset.defined() ? out.add_(offset) : out, activation);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.rows();
  return out.view(sizes);
}

namespace reference {

Tensor widen(const CodedMatrix& matrix, int64_t first, int64_t count, at::ScalarType dtype) {
  if (matrix.codes.is_meta()) return at::empty({count, matrix.columns}, matrix.codes.options().dtype(dtype));
  const Tensor out = at::empty({count, matrix.columns}, dtype);
  widen_on_cpu(matrix, first, out);
  return out.to(matrix.codes.device());
}

}  // namespace reference
}  // namespace wan::kernels
