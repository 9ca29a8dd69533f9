#include "kernels/linear/regular_hadamard.h"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>

namespace wan::kernels {
namespace {

/// One radix-4 step: the digit with this stride times H4, as multiply_by_h4 (hadamard.cuh) adds.
Tensor multiplied_by_h4(const Tensor& x, int64_t stride) {
  Tensor out = at::empty_like(x);
  const std::vector<Tensor> from = x.view({-1, 4, stride}).unbind(1);
  std::vector<Tensor> to = out.view({-1, 4, stride}).unbind(1);
  const Tensor first_sum = from[0] + from[1], first_difference = from[0] - from[1];
  const Tensor second_sum = from[2] + from[3], second_difference = from[2] - from[3];
  at::add_out(to[0], first_sum, second_difference);
  at::sub_out(to[1], first_sum, second_difference);
  at::add_out(to[2], second_sum, first_difference);
  at::sub_out(to[3], second_sum, first_difference);
  return out;
}

}  // namespace

bool is_regular_order(int64_t order) {
  return order > 0 && std::has_single_bit(uint64_t(order)) && std::countr_zero(uint64_t(order)) % 2 == 0;
}

Tensor regular_hadamard(const Tensor& x, int64_t order) {
  TORCH_CHECK(x.defined() && x.dim() >= 1 && is_regular_order(order) && x.size(-1) % order == 0,
              "[regular_hadamard] the order must be a power of 4 that divides the last axis, is ", order);
  Tensor y = x.to(at::kFloat).reshape({-1});
  for (int64_t stride = 1; stride < order; stride *= 4) y = multiplied_by_h4(y, stride);
  return y.view(x.sizes()).mul_(1 / std::sqrt(double(order)));
}

}  // namespace wan::kernels
