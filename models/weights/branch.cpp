#include "models/weights/branch.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/linear/linear.h"

namespace wan::lora {
namespace {

/// rows [M, N], a view with gaps between its rows, += x [M, K] weight [N, K]^T.
void add_product(at::Tensor rows, const at::Tensor& x, const at::Tensor& weight, const kernels::Context& context) {
  constexpr int64_t kTile = 1024;  // rows whose product lies beside the sum
  if (!rows.is_cpu()) {
    rows.addmm_(x, weight.t());
    return;
  }
  for (int64_t first = 0; first < x.size(0); first += kTile) {
    const int64_t count = std::min(kTile, x.size(0) - first);
    rows.narrow(0, first, count)
        .add_(kernels::linear(x.narrow(0, first, count), weight, {}, kernels::Activation::None, context));
  }
}

}  // namespace

uint64_t Branch::bytes() const {
  uint64_t sum = (down.defined() ? down.nbytes() : 0) + (rows.defined() ? rows.nbytes() : 0);
  for (const Part& part : parts) sum += part.up.defined() ? part.up.nbytes() : part.whole.nbytes();
  return sum;
}

double Branch::products() const {
  double sum = down.defined() ? double(down.numel()) : 0;
  for (const Part& part : parts) sum += double(part.up.defined() ? part.up.numel() : part.whole.numel());
  return sum;
}

at::Tensor added(at::Tensor y, const at::Tensor& x, const Branch& branch, const kernels::Context& context) {
  const at::Tensor all = y.view({-1, y.size(-1)}), from = x.reshape({-1, x.size(-1)});
  const at::Tensor ranks =
      branch.down.defined() ? kernels::linear(from, branch.down, {}, kernels::Activation::None, context) : at::Tensor();
  for (const Branch::Part& part : branch.parts) {
    const at::Tensor& factor = part.up.defined() ? part.up : part.whole;
    const at::Tensor rows = all.narrow(1, part.first_row, factor.size(0));
    add_product(rows, part.up.defined() ? ranks.narrow(1, part.first_rank, factor.size(1)) : from, factor, context);
  }
  return y;
}

}  // namespace wan::lora
