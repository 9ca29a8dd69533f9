#include "kernels/norm/norm_int8.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/norm/norm_cuda.h"
#include "kernels/op/check.h"
#include "kernels/op/first_use.h"
#include "kernels/op/takes.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

void check_norm(const char* op, const Tensor& x, const NextNorm& next, const Segments& ends) {
  check_segments(op, x, {{"shift", next.shift}, {"scale", next.scale}}, ends);
  check_dtype(op, "x", x, {at::kFloat});
  check_slices(op, x);
  for (const auto& [name, parameter] : {std::pair{"weight", next.weight}, {"bias", next.bias}})
    if (parameter.defined()) check_shape(op, name, parameter, {x.size(2)});
}

/// quantise_rows of x's norm. Tokens pass in blocks: in float32, 75,600 of them by 5120 channels would be 1.5 GB.
QuantisedRows quantised_norm(const Tensor& x, const NextNorm& next, const Segments& ends) {
  constexpr int64_t kBlock = 2048;
  QuantisedRows out = {at::empty(x.sizes(), x.options().dtype(at::kChar)),
                       at::empty(x.sizes().slice(0, 2), x.options())};
  int64_t first = 0;
  for (size_t s = 0; s < ends.size(); ++s) {
    for (int64_t count; first < ends[s]; first += count) {
      count = std::min(kBlock, ends[s] - first);
      const auto one = [&](const Tensor& rows) { return rows.narrow(0, int64_t(s), 1); };
      const Tensor part = x.narrow(1, first, count);
      const QuantisedRows rows = reference::quantise_rows(
          next.shift.defined()
              ? reference::modulated_layer_norm(part, one(next.shift), one(next.scale), {count}, next.eps, at::kFloat)
              : reference::layer_norm(part, next.weight, next.bias, next.eps, at::kFloat));
      out.codes.narrow(1, first, count).copy_(rows.codes);
      out.scale.narrow(1, first, count).copy_(rows.scale);
    }
  }
  return out;
}

/// Compares some tokens of a kernel's rows with the reference when this norm is first used on a device.
void check_rows_once(const char* op, const QuantisedRows& out, const Tensor& x, const NextNorm& next,
                     const Segments& ends, const Context& context) {
  constexpr double kBound = 1e-2;  // codes beside a half may be the next one: their sums have another order
  const auto some = [](const Tensor& all) {
    return all[0].index_select(0, spread_rows(all.size(1), all.device())).unsqueeze(0);
  };
  const auto values = [](const QuantisedRows& rows) { return rows.codes * rows.scale.unsqueeze(-1); };
  check_first_use(
      op, std::to_string(x.size(2)) + (next.shift.defined() ? " modulated" : ""), x.device(), kBound,
      [&] {
        return values({some(out.codes), some(out.scale)});
      },
      [&] {
        const Tensor tokens = spread_rows(x.size(1), at::kCPU);
        Segments parts;
        for (int64_t end : ends) parts.push_back((tokens < end).sum().item<int64_t>());
        return values(quantised_norm(some(x), next, parts));
      },
      context);
}

}  // namespace

bool takes_norm_int8(int64_t channels, at::ScalarType dtype) {
  return takes_dtype(dtype) && takes_rotation(channels, at::kFloat);
}

QuantisedRows modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends,
                                        double eps, const Context& context) {
  constexpr const char* kOp = "modulated_layer_norm_int8";
  const NextNorm norm{.weight = {}, .bias = {}, .shift = shift, .scale = scale, .eps = eps};
  check_norm(kOp, x, norm, ends);
  const Range range(kOp, [&] { return pass_work({x}, double(x.numel())); });
  if (auto rows = cuda::modulated_layer_norm_int8(x, shift, scale, ends, eps, context)) {
    check_rows_once(kOp, *rows, x, norm, ends, context);
    return *rows;
  }
  return reference::modulated_layer_norm_int8(x, shift, scale, ends, eps);
}

QuantisedRows gated_residual_norm_int8_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                        const Segments& ends, const Context& context) {
  constexpr const char* kOp = "gated_residual_norm_int8_";
  check_norm(kOp, x, next, ends);
  check_segments(kOp, x, {{"gate", gate}}, ends);
  check_shape(kOp, "y", y, x.sizes());
  const Range range(kOp, [&] { return pass_work({x, x, y}, double(x.numel())); });
  if (auto rows = cuda::gated_residual_norm_int8_(x, y, gate, next, ends, context)) {
    check_rows_once(kOp, *rows, x, next, ends, context);  // of the new x
    return *rows;
  }
  return reference::gated_residual_norm_int8_(x, y, gate, next, ends);
}

namespace reference {

QuantisedRows modulated_layer_norm_int8(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends,
                                        double eps) {
  return quantised_norm(x, {.weight = {}, .bias = {}, .shift = shift, .scale = scale, .eps = eps}, ends);
}

QuantisedRows gated_residual_norm_int8_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next,
                                        const Segments& ends) {
  gated_residual_(x, y, gate, ends);
  return quantised_norm(x, next, ends);
}

}  // namespace reference
}  // namespace wan::kernels
