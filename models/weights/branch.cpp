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
  const auto of = [](const at::Tensor& tensor) { return tensor.defined() ? uint64_t(tensor.nbytes()) : 0; };
  uint64_t sum = of(down);
  for (const at::Tensor& some : rows) sum += of(some);
  for (const at::Tensor& some : columns) sum += of(some);
  for (const Part& part : parts) sum += of(part.up) + of(part.whole) + (part.kronecker ? part.kronecker->bytes() : 0);
  return sum;
}

double Branch::products() const {
  double sum = down.defined() ? double(down.numel()) : 0;
  for (const Part& part : parts)
    sum +=
        part.kronecker ? part.kronecker->order().products : double((part.up.defined() ? part.up : part.whole).numel());
  for (size_t i = 0; i < rows.size(); ++i)
    if (has_both(i)) sum += double(rows[i].numel()) * double(columns[i].numel());
  return sum;
}

at::Tensor added(at::Tensor y, const at::Tensor& x, const Branch& branch, const kernels::Context& context) {
  const at::Tensor all = y.view({-1, y.size(-1)}), from = x.reshape({-1, x.size(-1)});
  const at::Tensor ranks =
      branch.down.defined() ? kernels::linear(from, branch.down, {}, kernels::Activation::None, context) : at::Tensor();
  for (const Branch::Part& part : branch.parts) {
    const at::Tensor rows = all.narrow(1, part.first_row, part.rows());
    if (part.kronecker)
      add_product(rows, from, *part.kronecker, context);
    else if (part.up.defined())
      add_product(rows, ranks.narrow(1, part.first_rank, part.up.size(1)), part.up, context);
    else
      add_product(rows, from, part.whole, context);
  }
  return y;
}

}  // namespace wan::lora
