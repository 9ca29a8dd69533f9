#include "kernels/dequantise/fp8_product.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/check.h"
#include "kernels/op/device.h"
#include "kernels/op/first_use.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

constexpr float kLargest = 448;      // of E4M3
constexpr float kSmallest = 1e-30f;  // of a row's largest magnitude: below it the row counts as zeros

/// On tensor cores: sums of products of codes in float32, then the scales of both sides.
Tensor multiply_codes(const Fp8Rows& x, const CodedMatrix& weight, const Tensor& bias, Activation activation) {
  const Tensor one = at::ones({}, x.scale.options());
  Tensor y = at::_scaled_mm(x.codes, weight.codes.view(at::kFloat8_e4m3fn).t(), one, one, /*bias=*/{},
                            /*scale_result=*/{}, at::kFloat, /*use_fast_accum=*/false);
  y.mul_(x.scale.unsqueeze(1));
  if (weight.scale.defined()) y.mul_(weight.scale.flatten());
  if (weight.factor != 1) y.mul_(weight.factor);
  if (bias.defined()) y.add_(bias.to(at::kFloat));
  return reference::activated(y, activation);
}

/// The product of a block of rows [M, K] that cuda::takes_fp8 -> [M, N] float32.
Tensor block_product(const Tensor& rows, const CodedMatrix& weight, const Tensor& bias, Activation activation,
                     const Context& context) {
  const Tensor y = multiply_codes(quantise_fp8_rows(rows), weight, bias, activation);
  constexpr double kBound = 5e-3;  // one rounding to bfloat16, and sums that tensor cores round
  const auto some = [](const Tensor& all) { return all.index_select(0, spread_rows(all.size(0), all.device())); };
  check_first_use(
      "linear_fp8", std::to_string(weight.columns) + " to " + std::to_string(weight.rows()), rows.device(), kBound,
      [&] { return some(y); },
      [&] { return reference::linear_fp8(some(rows).to(at::kFloat), weight, bias, activation, context); }, context);
  return y;
}

}  // namespace

bool takes_fp8(const CodedMatrix& weight) {
  if (weight.coding->code != Code::E4M3 || weight.rotation != 0) return false;
  const Tensor& scale = weight.scale;
  if (!scale.defined()) return true;
  const bool by_rows = weight.scale_rows == 1 || scale.size(0) == 1;
  return scale.scalar_type() == at::kFloat && scale.size(1) == 1 && by_rows;
}

bool cuda::takes_fp8(const Tensor& x, const CodedMatrix& weight, const Context& context) {
  constexpr int64_t kMultiple = 16;  // of cuBLASLt, for both sides of a matrix in 8 bits
  return use_libraries(x, context) && weight.rows() % kMultiple == 0 && weight.columns % kMultiple == 0 &&
         architecture(x.device()) >= kFloat8Architecture;
}

Fp8Rows quantise_fp8_rows(const Tensor& x) {
  check_shape("quantise_fp8_rows", "x", x, {kAny, kAny});
  check_dtype("quantise_fp8_rows", "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  const Tensor values = x.to(at::kFloat), largest = values.abs().amax(1, /*keepdim=*/true);
  const Tensor units = values * at::where(largest > kSmallest, kLargest / largest, 0);
  return {units.clamp_(-kLargest, kLargest).to(at::kFloat8_e4m3fn), largest.squeeze(1).div_(kLargest)};
}

Tensor widened(const Fp8Rows& rows, at::ScalarType dtype) {
  return rows.codes.to(at::kFloat).mul_(rows.scale.unsqueeze(1)).to(dtype);
}

Tensor linear_fp8(const Tensor& x, const CodedMatrix& weight, const Tensor& bias, Activation activation,
                  const Context& context) {
  check_coded("linear_fp8", weight);
  TORCH_CHECK(takes_fp8(weight),
              "[linear_fp8] the weight must be E4M3 with a float32 scale for the matrix or each row, is ",
              weight.coding->name, " with others");
  check_trailing("linear_fp8", "x", x, {weight.columns});
  check_dtype("linear_fp8", "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  if (bias.defined()) check_shape("linear_fp8", "bias", bias, {weight.rows()});
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.rows();
  const Range range("linear_fp8", [&] { return product_work(x, weight.rows(), 1, "fp8"); });
  const Tensor rows = x.reshape({-1, weight.columns});
  if (!cuda::takes_fp8(rows, weight, context))
    return reference::linear_fp8(rows, weight, bias, activation, context).view(sizes);
  const Tensor out = at::empty({rows.size(0), weight.rows()}, x.options());
  for (int64_t first = 0; first < rows.size(0); first += kFp8RowBlock) {
    const int64_t count = std::min(kFp8RowBlock, rows.size(0) - first);
    out.narrow(0, first, count).copy_(block_product(rows.narrow(0, first, count), weight, bias, activation, context));
  }
  return out.view(sizes);
}

Tensor reference::linear_fp8(const Tensor& x, const CodedMatrix& weight, const Tensor& bias, Activation activation,
                             const Context& context) {
  // Rows are rounded block by block; the weight is widened once for all of them.
  const Tensor rounded = at::empty(x.sizes(), x.options());
  for (int64_t first = 0; first < x.size(0); first += kFp8RowBlock) {
    const int64_t count = std::min(kFp8RowBlock, x.size(0) - first);
    rounded.narrow(0, first, count).copy_(widened(quantise_fp8_rows(x.narrow(0, first, count)), x.scalar_type()));
  }
  return linear_coded(rounded, weight, bias, activation, context);
}

}  // namespace wan::kernels
