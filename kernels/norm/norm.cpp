#include "kernels/norm/norm.h"

#include <ATen/ATen.h>

#include "kernels/norm/norm_cuda.h"
#include "kernels/op/check.h"
#include "kernels/op/work.h"

namespace wan::kernels {
namespace {

void check_residual(const char* op, const Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends) {
  check_segments(op, x, {{"gate", gate}}, ends);
  check_shape(op, "y", y, x.sizes());
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps, const Context& context) {
  check_shape("rms_norm", "weight", weight, {x.size(-1)});
  const Range range("rms_norm", [&] { return pass_work({x, x}); });
  if (auto out = cuda::rms_norm(x, weight, eps, context)) return *out;
  return reference::rms_norm(x, weight, eps);
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, at::ScalarType dtype,
                  const Context& context) {
  if (weight.defined()) check_shape("layer_norm", "weight", weight, {x.size(-1)});
  if (bias.defined()) check_shape("layer_norm", "bias", bias, {x.size(-1)});
  const Range range("layer_norm", [&] { return pass_work({x}, double(x.numel() * int64_t(c10::elementSize(dtype)))); });
  if (auto out = cuda::layer_norm(x, weight, bias, eps, dtype, context)) return *out;
  return reference::layer_norm(x, weight, bias, eps, dtype);
}

Tensor modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends, double eps,
                            at::ScalarType dtype, const Context& context) {
  check_segments("modulated_layer_norm", x, {{"shift", shift}, {"scale", scale}}, ends);
  const Range range("modulated_layer_norm",
                    [&] { return pass_work({x}, double(x.numel() * int64_t(c10::elementSize(dtype)))); });
  if (auto out = cuda::modulated_layer_norm(x, shift, scale, ends, eps, dtype, context)) return *out;
  return reference::modulated_layer_norm(x, shift, scale, ends, eps, dtype);
}

void gated_residual_(Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends, const Context& context) {
  check_residual("gated_residual_", x, y, gate, ends);
  const Range range("gated_residual_", [&] { return pass_work({x, x, y}); });
  if (cuda::gated_residual_(x, y, gate, ends, context)) return;
  reference::gated_residual_(x, y, gate, ends);
}

Tensor gated_residual_norm_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next, const Segments& ends,
                            at::ScalarType dtype, const Context& context) {
  check_residual("gated_residual_norm_", x, y, gate, ends);
  check_segments("gated_residual_norm_", x, {{"shift", next.shift}, {"scale", next.scale}}, ends);
  const Range range("gated_residual_norm_", [&] {
    return pass_work({x, x, y}, double(x.numel() * int64_t(c10::elementSize(dtype))));
  });
  if (auto out = cuda::gated_residual_norm_(x, y, gate, next, ends, dtype, context)) return *out;
  return reference::gated_residual_norm_(x, y, gate, next, ends, dtype);
}

namespace reference {
namespace {

Tensor as_dtype_of(const Tensor& weight, const Tensor& x) {
  return weight.defined() ? weight.to(x.scalar_type()) : weight;
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  Tensor wide = x.to(accumulation(x.scalar_type()));
  Tensor mean_square = at::linalg_vector_norm(wide, 2, {-1}, true).square().div(x.size(-1));
  return (wide * (mean_square + eps).rsqrt()).mul_(as_dtype_of(weight, wide)).to(x.scalar_type());
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, at::ScalarType dtype) {
  return at::layer_norm(x, {x.size(-1)}, as_dtype_of(weight, x), as_dtype_of(bias, x), eps).to(dtype);
}

Tensor modulated_layer_norm(const Tensor& x, const Tensor& shift, const Tensor& scale, const Segments& ends, double eps,
                            at::ScalarType dtype) {
  // A modulation row is an affine weight and bias, so that ATen's norm does both in one pass.
  if (ends.size() == 1) return layer_norm(x, scale[0] + 1, shift[0], eps, dtype);
  std::vector<Tensor> parts;
  int64_t start = 0;
  for (size_t s = 0; s < ends.size(); start = ends[s++])
    parts.push_back(layer_norm(x.narrow(1, start, ends[s] - start), scale[s] + 1, shift[s], eps, dtype));
  return at::cat(parts, 1);
}

void gated_residual_(Tensor& x, const Tensor& y, const Tensor& gate, const Segments& ends) {
  if (x.requires_grad()) x = x.clone();
  if (!gate.defined()) {
    x.add_(y);
    return;
  }
  int64_t start = 0;
  for (size_t s = 0; s < ends.size(); start = ends[s++]) {
    int64_t length = ends[s] - start;
    x.narrow(1, start, length).addcmul_(y.narrow(1, start, length), gate[s]);
  }
}

Tensor gated_residual_norm_(Tensor& x, const Tensor& y, const Tensor& gate, const NextNorm& next, const Segments& ends,
                            at::ScalarType dtype) {
  gated_residual_(x, y, gate, ends);
  return next.shift.defined() ? modulated_layer_norm(x, next.shift, next.scale, ends, next.eps, dtype)
                              : layer_norm(x, next.weight, next.bias, next.eps, dtype);
}

}  // namespace reference
}  // namespace wan::kernels
