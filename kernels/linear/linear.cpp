#include "kernels/linear/linear.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/linear/gelu_cuda.h"
#include "kernels/linear/row_parts.h"
#include "kernels/op/check.h"
#include "kernels/op/pieces.h"
#include "kernels/op/work.h"

namespace wan::kernels {

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
              const Context& context) {
  check_shape("linear", "weight", weight, {kAny, kAny});
  check_trailing("linear", "x", x, {weight.size(1)});
  if (bias.defined()) check_shape("linear", "bias", bias, {weight.size(0)});
  const Range range("linear", [&] {
    return product_work(x, weight.size(0), double(weight.element_size()), ceiling_of(x.scalar_type()));
  });
  const int64_t rows = x.numel() / std::max<int64_t>(x.size(-1), 1);
  const int64_t part = rows_at_once(rows, weight.size(1), weight.size(0));
  if (!x.is_cpu() && part < rows && !x.requires_grad())
    return reference::activated(linear_in_parts(x, weight, bias, part), activation);
  if (activation == Activation::GeluTanh) {
    if (auto out = cuda::linear_gelu(x, weight, bias, context)) return *out;
  }
  return reference::linear(x, weight, bias, activation);
}

namespace reference {

Tensor activated(const Tensor& y, Activation activation) {
  if (activation == Activation::GeluTanh) elementwise_(y, [](Tensor& piece) { at::gelu_(piece, "tanh"); });
  if (activation == Activation::Silu) elementwise_(y, [](Tensor& piece) { at::silu_(piece); });
  return y;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation) {
  const Tensor matrix = weight.to(x.scalar_type()), offset = bias.defined() ? bias.to(x.scalar_type()) : bias;
  if (!x.is_cpu() || x.requires_grad()) return activated(at::linear(x, matrix, offset), activation);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const Tensor rows = x.reshape({-1, weight.size(1)});
  return activated(sum_of_products({{rows, matrix}}, offset).view(sizes), activation);
}

}  // namespace reference
}  // namespace wan::kernels
