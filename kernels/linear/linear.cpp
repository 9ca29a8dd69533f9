#include "kernels/linear/linear.h"

#include <ATen/ATen.h>

#include "kernels/linear/gelu_cuda.h"
#include "kernels/op/check.h"

namespace wan::kernels {

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
              const Context& context) {
  check_shape("linear", "weight", weight, {kAny, kAny});
  check_trailing("linear", "x", x, {weight.size(1)});
  if (bias.defined()) check_shape("linear", "bias", bias, {weight.size(0)});
  if (activation == Activation::GeluTanh) {
    if (auto out = cuda::linear_gelu(x, weight, bias, context)) return *out;
  }
  return reference::linear(x, weight, bias, activation);
}

namespace reference {

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation) {
  at::ScalarType dtype = x.scalar_type();
  Tensor y = at::linear(x, weight.to(dtype), bias.defined() ? bias.to(dtype) : bias);
  switch (activation) {
    case Activation::GeluTanh:
      return at::gelu_(y, "tanh");
    case Activation::Silu:
      return at::silu_(y);
    case Activation::None:
      break;
  }
  return y;
}

}  // namespace reference
}  // namespace wan::kernels
