#include "models/weights/kronecker.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "kernels/linear/linear.h"

namespace wan::lora {
namespace {

constexpr int64_t kTileValues = 1 << 22;  // of the rows that are on their way at once
constexpr uint64_t kCopies = 3;           // of such rows at most: what comes in, what goes out, and one turned

std::vector<int64_t> widths(const std::vector<at::Tensor>& factor) {
  std::vector<int64_t> all = {factor.back().size(1)};
  for (auto matrix = factor.rbegin(); matrix != factor.rend(); ++matrix) all.push_back(matrix->size(0));
  return all;
}

/// `z` [..., n] through the matrices of a factor from its last on, `from` to `to` of them.
at::Tensor through(at::Tensor z, const std::vector<at::Tensor>& factor, size_t from, size_t to,
                   const kernels::Context& context) {
  for (size_t i = from; i < to; ++i)
    z = kernels::linear(z, factor[factor.size() - 1 - i], {}, kernels::Activation::None, context);
  return z;
}

uint64_t bytes_of(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.nbytes() : 0;
}

}  // namespace

KroneckerOrder::KroneckerOrder(const std::vector<int64_t>& first, const std::vector<int64_t>& second)
    : products(std::numeric_limits<double>::infinity()) {
  for (size_t turn = 0; turn < second.size(); ++turn) {
    double cost = 0;
    int64_t most = first.front() * second.front();
    const auto pass = [&](int64_t beside, int64_t in, int64_t out) {
      cost += double(beside) * double(in) * double(out);
      most = std::max(most, beside * out);
    };
    for (size_t i = 0; i < turn; ++i) pass(first.front(), second[i], second[i + 1]);
    for (size_t i = 0; i + 1 < first.size(); ++i) pass(second[turn], first[i], first[i + 1]);
    for (size_t i = turn; i + 1 < second.size(); ++i) pass(first.back(), second[i], second[i + 1]);
    if (cost >= products) continue;
    before = turn;
    products = cost;
    widest = most;
  }
}

KroneckerOrder Kronecker::order() const {
  return {widths(first), widths(second)};
}

uint64_t Kronecker::bytes() const {
  uint64_t sum = bytes_of(rows) + bytes_of(columns);
  for (const auto* factor : {&first, &second})
    for (const at::Tensor& matrix : *factor) sum += matrix.nbytes();
  return sum;
}

void add_product(const at::Tensor& y, const at::Tensor& x, const Kronecker& matrix, const kernels::Context& context) {
  const KroneckerOrder order = matrix.order();
  const int64_t tile = std::max<int64_t>(kTileValues / order.widest, 1);
  const int64_t a = matrix.first.front().size(0), b = matrix.first.back().size(1);
  const int64_t c = matrix.second.front().size(0), d = matrix.second.back().size(1);
  for (int64_t row = 0; row < x.size(0); row += tile) {
    const int64_t count = std::min(tile, x.size(0) - row);
    at::Tensor z = x.narrow(0, row, count);
    if (matrix.columns.defined()) z = z.mul(matrix.columns).to(x.scalar_type());
    // A row of x is a matrix [b, d]; it becomes W1 x W2^T [a, c].
    z = through(z.reshape({count, b, d}), matrix.second, 0, order.before, context).transpose(1, 2).contiguous();
    z = through(z, matrix.first, 0, matrix.first.size(), context).transpose(1, 2);
    if (order.before < matrix.second.size())
      z = through(z.contiguous(), matrix.second, order.before, matrix.second.size(), context);
    if (matrix.rows.defined()) z = z.mul(matrix.rows.view({a, c}));
    y.narrow(0, row, count).unflatten(1, {a, c}).add_(z);
  }
}

uint64_t kronecker_work_bytes(at::ScalarType compute) {
  return kCopies * uint64_t(kTileValues) * c10::elementSize(compute);
}

}  // namespace wan::lora
