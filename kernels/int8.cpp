#include "kernels/int8.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda_int8.h"
#include "kernels/first_use.h"
#include "kernels/hadamard.h"
#include "kernels/policy.h"

namespace wan::kernels {
namespace {

constexpr int64_t kSlice = hadamard::kSlice;

void check_slices(const char* op, const Tensor& x) {
  TORCH_CHECK(x.defined() && x.dim() >= 1 && x.size(-1) > 0 && x.size(-1) % kSlice == 0, "[", op,
              "] the last axis of x must be a multiple of ", kSlice, ", got ", x.sizes());
}

void check_product(const char* op, const Tensor& x, const QuantisedRows& weight, const Tensor& bias) {
  check_shape(op, "weight", weight.codes, {kAny, kAny});
  check_dtype(op, "weight", weight.codes, {at::kChar});
  check_shape(op, "weight scale", weight.scale, {weight.codes.size(0)});
  check_dtype(op, "weight scale", weight.scale, {at::kFloat});
  check_dtype(op, "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  check_slices(op, x);
  check_trailing(op, "x", x, {weight.codes.size(1)});
  if (bias.defined()) check_shape(op, "bias", bias, {weight.codes.size(0)});
}

/// x [..., K] times sqrt(128) H, in seven stages whose sums and differences round as in rotate_slices (quantise.cuh).
Tensor butterfly(const Tensor& x) {
  Tensor y = x.to(at::kFloat).reshape({-1});
  for (int64_t stride = 1; stride < kSlice; stride *= 2) {
    const Tensor pairs = y.view({-1, 2, stride});
    const Tensor low = pairs.select(1, 0), high = pairs.select(1, 1);
    y = at::stack({low + high, low - high}, 1).view({-1});
  }
  return y.view(x.sizes());
}

/// Rows that pass at once, so that 75,600 tokens by 13,824 channels need no 4 GB of integers.
constexpr int64_t kRowBlock = 2048;

/// For each block of x's rows: `take` gets the product in float32 and the number of the first row.
template <typename Take>
void for_row_blocks(const Tensor& x, const QuantisedRows& weight, const Tensor& bias, Take take) {
  const Tensor rows = x.reshape({-1, x.size(-1)});
  for (int64_t first = 0; first < rows.size(0); first += kRowBlock) {
    const int64_t count = std::min(kRowBlock, rows.size(0) - first);
    take(reference::linear_int8(reference::quantise_rows(rows.narrow(0, first, count)), weight, bias), first);
  }
}

Tensor activated(Tensor y, Activation activation) {
  if (activation == Activation::GeluTanh) return at::gelu_(y, "tanh");
  if (activation == Activation::Silu) return at::silu_(y);
  return y;
}

/// Compares rows of a kernel's product with the reference when this weight's shape is first used on a device.
[[maybe_unused]] void check_product_once(const Tensor& out, const Tensor& x, const QuantisedRows& weight,
                                         const Tensor& bias, Activation activation) {
  constexpr double kBound = 5e-3;  // the sums are exact: one rounding to bfloat16
  const int64_t channels = weight.codes.size(0), depth = weight.codes.size(1);
  const auto rows_of = [&](const Tensor& all) {
    const Tensor rows = all.reshape({-1, all.size(-1)});
    return rows.index_select(0, spread_rows(rows.size(0), rows.device()));
  };
  check_first_use(
      "linear_int8", std::to_string(depth) + " to " + std::to_string(channels), x.device(), kBound,
      [&] { return rows_of(out); },
      [&] {
        return activated(reference::linear_int8(reference::quantise_rows(rows_of(x)), weight, bias), activation);
      });
}

}  // namespace

Tensor rotate(const Tensor& x) {
  check_slices("rotate", x);
  return butterfly(x).mul_(hadamard::kNormaliser);
}

QuantisedRows quantise_rows(const Tensor& x) {
  check_slices("quantise_rows", x);
  check_dtype("quantise_rows", "x", x, {at::kFloat, at::kBFloat16, at::kHalf});
  if constexpr (kFusedBuilt) {
    if (auto rows = cuda::quantise_rows(x)) return *rows;
  }
  return reference::quantise_rows(x);
}

Tensor linear_int8(const Tensor& x, const QuantisedRows& weight, const Tensor& bias, Activation activation) {
  check_product("linear_int8", x, weight, bias);
  if constexpr (kFusedBuilt) {
    if (auto out = cuda::linear_int8(x, weight, bias, activation)) {
      check_product_once(*out, x, weight, bias, activation);
      return *out;
    }
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.codes.size(0);
  Tensor out = at::empty(shape, x.options());
  Tensor rows = out.view({-1, shape.back()});
  for_row_blocks(x, weight, bias,
                 [&](Tensor y, int64_t first) { rows.narrow(0, first, y.size(0)).copy_(activated(y, activation)); });
  return out;
}

void linear_int8_residual_(Tensor& residual, const Tensor& x, const QuantisedRows& weight, const Tensor& bias,
                           const Tensor& gate, const Segments& ends) {
  constexpr const char* kOp = "linear_int8_residual_";
  check_product(kOp, x, weight, bias);
  check_shape(kOp, "x", x, {kAny, kAny, kAny});
  check_shape(kOp, "residual", residual, {x.size(0), x.size(1), weight.codes.size(0)});
  check_dtype(kOp, "residual", residual, {at::kFloat});
  TORCH_CHECK(!ends.empty() && std::is_sorted(ends.begin(), ends.end()) && ends.back() == x.size(1), "[", kOp,
              "] the ends of the segments must rise to the ", x.size(1), " tokens, got ", at::IntArrayRef(ends));
  if (gate.defined()) check_shape(kOp, "gate", gate, {int64_t(ends.size()), residual.size(2)});
  if constexpr (kFusedBuilt) {
    if (cuda::linear_int8_residual_(residual, x, weight, bias, gate, ends)) return;
  }
  Tensor y = at::empty(residual.sizes(), residual.options());
  Tensor rows = y.view({-1, y.size(-1)});
  for_row_blocks(x, weight, bias,
                 [&](const Tensor& part, int64_t first) { rows.narrow(0, first, part.size(0)).copy_(part); });
  gated_residual_(residual, y, gate, ends);
}

namespace reference {

QuantisedRows quantise_rows(const Tensor& x) {
  const Tensor rotated = butterfly(x);
  const Tensor largest = rotated.abs().amax(-1, /*keepdim=*/true);
  const Tensor inverse = at::where(largest > hadamard::kSmallest, hadamard::kLargestCode / largest, 0);
  const Tensor codes = (rotated * inverse).round_().clamp_(-hadamard::kLargestCode, hadamard::kLargestCode);
  return {codes.nan_to_num(0).to(at::kChar), largest.squeeze(-1) * (hadamard::kNormaliser / hadamard::kLargestCode)};
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
