#include "kernels/linear/int8.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/linear/hadamard.h"
#include "kernels/linear/int8_codes.h"
#include "kernels/linear/int8_cuda.h"
#include "kernels/linear/regular_hadamard.h"
#include "kernels/op/check.h"
#include "kernels/op/device.h"
#include "kernels/op/first_use.h"
#include "kernels/op/takes.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

void check_weight(const char* op, const QuantisedRows& weight, const Tensor& bias) {
  check_shape(op, "weight", weight.codes, {kAny, kAny});
  check_dtype(op, "weight", weight.codes, {at::kChar});
  check_shape(op, "weight scale", weight.scale, {weight.codes.size(0)});
  check_dtype(op, "weight scale", weight.scale, {at::kFloat});
  if (bias.defined()) check_shape(op, "bias", bias, {weight.codes.size(0)});
}

void check_product(const char* op, const Tensor& x, const QuantisedRows& weight, const Tensor& bias) {
  check_weight(op, weight, bias);
  check_dtype(op, "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  check_slices(op, x);
  check_trailing(op, "x", x, {weight.codes.size(1)});
}

void check_product(const char* op, const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias) {
  check_weight(op, weight, bias);
  check_trailing(op, "x", x.codes, {weight.codes.size(1)});
  check_dtype(op, "x", x.codes, {at::kChar});
  check_shape(op, "x scale", x.scale, x.codes.sizes().slice(0, x.codes.dim() - 1));
  check_dtype(op, "x scale", x.scale, {at::kFloat});
}

/// Rows that pass at once, so that 75,600 tokens by 13,824 channels need no 4 GB of integers.
constexpr int64_t kRowBlock = 2048;

Tensor as_rows(const Tensor& x) {
  return x.reshape({-1, x.size(-1)});
}

/// The rows that `pick` takes of a product's input: quantised now, or codes already.
template <typename Pick>
QuantisedRows picked_rows(const Tensor& x, Pick pick) {
  return reference::quantise_rows(pick(as_rows(x)));
}
template <typename Pick>
QuantisedRows picked_rows(const QuantisedRows& x, Pick pick) {
  return {pick(as_rows(x.codes)), pick(x.scale.reshape({-1}))};
}

/// For each block of x's rows: `take` gets the product in float32 and the number of the first row.
template <typename Input, typename Take>
void for_row_blocks(const Input& x, int64_t rows, const QuantisedRows& weight, const Tensor& bias, Take take) {
  for (int64_t first = 0; first < rows; first += kRowBlock) {
    const auto block = [&](const Tensor& all) { return all.narrow(0, first, std::min(kRowBlock, rows - first)); };
    take(reference::linear_int8(picked_rows(x, block), weight, bias), first);
  }
}

/// activation(x W^T + b), block by block, as `like` of these sizes.
template <typename Input>
Tensor multiply_in_blocks(const Input& x, const std::vector<int64_t>& sizes, const at::TensorOptions& like,
                          const QuantisedRows& weight, const Tensor& bias, Activation activation) {
  Tensor out = at::empty(sizes, like);
  const Tensor rows = as_rows(out);
  for_row_blocks(x, rows.size(0), weight, bias, [&](Tensor y, int64_t first) {
    rows.narrow(0, first, y.size(0)).copy_(reference::activated(y, activation));
  });
  return out;
}

/// x's sizes behind a product with `weight`.
std::vector<int64_t> product_sizes(const Tensor& x, const QuantisedRows& weight) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.codes.size(0);
  return sizes;
}

/// "5120 to 13824": what is compared once.
std::string product_name(const QuantisedRows& weight, at::Device device, const Context& context) {
  const bool wgmma = cuda::instructions_on(device, context) == Instructions::Wgmma;
  return std::to_string(weight.codes.size(1)) + " to " + std::to_string(weight.codes.size(0)) +
         (wgmma ? " with wgmma" : "");
}

/// Compares rows of a kernel's product with the reference when this weight's shape is first used on a device.
template <typename Input>
void check_product_once(const Tensor& out, const Input& x, const QuantisedRows& weight, const Tensor& bias,
                        Activation activation, const Context& context) {
  constexpr double kBound = 5e-3;  // the sums are exact: one rounding to bfloat16
  const auto some = [](const Tensor& rows) { return rows.index_select(0, spread_rows(rows.size(0), rows.device())); };
  check_first_use(
      "linear_int8", product_name(weight, out.device(), context), out.device(), kBound,
      [&] { return some(as_rows(out)); },
      [&] { return reference::activated(reference::linear_int8(picked_rows(x, some), weight, bias), activation); },
      context);
}

/// The same for what is added to a residual, on its last tokens, before the first use: added to zeros, since beside a
/// large residual its digits would be lost.
void check_residual_once(const Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                         const Tensor& gate, const Segments& ends, const Context& context) {
  constexpr int64_t kTokens = 2048;
  constexpr double kBound = 1e-3;  // float32 of exact sums
  const int64_t count = std::min(x.size(1), kTokens), first = x.size(1) - count;
  const auto last = [&](const Tensor& all) { return all.narrow(0, 0, 1).narrow(1, first, count); };
  Segments parts;
  for (int64_t end : ends) parts.push_back(std::max<int64_t>(end - first, 0));
  check_first_use(
      "linear_int8_residual_", product_name(weight, x.device(), context), x.device(), kBound,
      [&] {
        Tensor added = at::zeros_like(last(residual));
        TORCH_CHECK(cuda::linear_int8_residual_(added, last(x).contiguous(), weight, bias, gate, parts, context));
        return added;
      },
      [&] {
        Tensor added = at::zeros_like(last(residual));
        const Tensor product =
            reference::linear_int8(picked_rows(last(x), [](const Tensor& rows) { return rows; }), weight, bias);
        gated_residual_(added, product.view(added.sizes()), gate, parts, context);
        return added;
      },
      context);
}

}  // namespace

void check_slices(const char* op, const Tensor& x) {
  TORCH_CHECK(x.defined() && x.dim() >= 1 && x.size(-1) > 0 && x.size(-1) % hadamard::kWidthMultiple == 0, "[", op,
              "] the last axis of x must be a multiple of ", hadamard::kWidthMultiple, ", got ", x.sizes());
}

Tensor rotate(const Tensor& x) {
  check_slices("rotate", x);
  return regular_hadamard(x, hadamard::order(x.size(-1)));
}

bool is_own_rotation(int64_t rotation, int64_t columns) {
  return columns > 0 && columns % hadamard::kWidthMultiple == 0 && rotation == hadamard::order(columns);
}

bool takes_rotation(int64_t channels, at::ScalarType dtype) {
  return takes_row(channels, dtype) && channels % hadamard::kWidthMultiple == 0;
}

bool takes_int8(int64_t depth, int64_t channels, at::ScalarType dtype) {
  return takes_rotation(depth, dtype) && is_half(dtype) && channels >= 2 && channels % 2 == 0 && channels <= INT32_MAX;
}

QuantisedRows quantise_rows(const Tensor& x, const Context& context) {
  check_slices("quantise_rows", x);
  check_dtype("quantise_rows", "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  const Range range("quantise_rows", [&] { return pass_work({x}, double(x.numel())); });
  if (auto rows = cuda::quantise_rows(x, context)) return *rows;
  return reference::quantise_rows(x);
}

Tensor linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias, Activation activation,
                   const Context& context) {
  check_product("linear_int8", x, weight, bias);
  const Range range("linear_int8", [&] { return product_work(x, weight.codes.size(0), 1, "int8"); });
  if (auto out = cuda::linear_int8(x, weight, bias, activation, context)) {
    check_product_once(*out, x, weight, bias, activation, context);
    return *out;
  }
  return multiply_in_blocks(x, product_sizes(x, weight), x.options(), weight, bias, activation);
}

Tensor linear_int8(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias, at::ScalarType dtype,
                   Activation activation, const Context& context) {
  check_product("linear_int8", x, weight, bias);
  TORCH_CHECK(takes_dtype(dtype), "[linear_int8] dtype must be Float, BFloat16 or Half, got ", dtype);
  const Range range("linear_int8", [&] { return product_work(x.codes, weight.codes.size(0), 1, "int8"); });
  const std::vector<int64_t> sizes = product_sizes(x.codes, weight);
  if (auto out = cuda::multiply_rows(x, weight, bias, activation, dtype,
                                     cuda::instructions_on(x.codes.device(), context), context)) {
    check_product_once(*out, x, weight, bias, activation, context);
    return out->view(sizes);
  }
  return multiply_in_blocks(x, sizes, x.scale.options().dtype(dtype), weight, bias, activation);
}

void linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends, const Context& context) {
  constexpr const char* kOp = "linear_int8_residual_";
  check_product(kOp, x, weight, bias);
  check_shape(kOp, "x", x, {kAny, kAny, kAny});
  check_shape(kOp, "residual", residual, {x.size(0), x.size(1), weight.codes.size(0)});
  check_dtype(kOp, "residual", residual, {at::kFloat});
  TORCH_CHECK(!ends.empty() && std::is_sorted(ends.begin(), ends.end()) && ends.back() == x.size(1), "[", kOp,
              "] the ends of the segments must rise to the ", x.size(1), " tokens, got ", at::IntArrayRef(ends));
  if (gate.defined()) check_shape(kOp, "gate", gate, {int64_t(ends.size()), residual.size(2)});
  const Range range(kOp, [&] { return product_work(x, weight.codes.size(0), 1, "int8"); });
  if (use_fused(x, context) && cuda::takes_residual(residual, x, weight, gate, ends, context)) {
    check_residual_once(residual, x, weight, bias, gate, ends, context);
    if (cuda::linear_int8_residual_(residual, x, weight, bias, gate, ends, context)) return;
  }
  gated_residual_(residual,
                  multiply_in_blocks(x, product_sizes(x, weight), residual.options(), weight, bias, Activation::None),
                  gate, ends, context);
}

namespace reference {

QuantisedRows quantise_rows(const Tensor& x) {
  const Tensor rotated = rotate(x);
  const Tensor largest = rotated.abs().amax(-1, /*keepdim=*/true);
  const Tensor inverse = at::where(largest > int8_codes::kSmallest, int8_codes::kLargest / largest, 0);
  const Tensor codes = (rotated * inverse).round_().clamp_(-int8_codes::kLargest, int8_codes::kLargest);
  return {codes.nan_to_num(0).to(at::kChar), largest.squeeze(-1) * (1 / int8_codes::kLargest)};
}

Tensor multiply_codes(const Tensor& a, const Tensor& b) {
  // Codes are exact in every float format, and 1024 products of at most 127^2 stay below 2^24: exact in float32
  // whatever the order of the sums, and as fast as the device's matrix product.
  constexpr int64_t kExactDepth = 1024;
  Tensor sum = at::zeros({a.size(0), b.size(0)}, a.options().dtype(at::kInt));
  for (int64_t first = 0; first < a.size(1); first += kExactDepth) {
    const int64_t count = std::min(kExactDepth, a.size(1) - first);
    const Tensor left = a.narrow(1, first, count).to(at::kFloat), right = b.narrow(1, first, count).to(at::kFloat);
    sum += at::matmul(left, right.t()).to(at::kInt);
  }
  return sum;
}

Tensor linear_int8(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias) {
  Tensor y = multiply_codes(x.codes, weight.codes).to(at::kFloat);
  y.mul_(x.scale.unsqueeze(-1)).mul_(weight.scale);
  return bias.defined() ? y.add_(bias.to(at::kFloat)) : y;
}

}  // namespace reference
}  // namespace wan::kernels
