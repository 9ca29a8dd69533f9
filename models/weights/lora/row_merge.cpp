#include "models/weights/lora/row_merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace wan::lora {
namespace {

constexpr int64_t kTileValues = 1 << 19;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();  // as File::merged

}  // namespace

int64_t merge_tile(int64_t columns) {
  return std::max<int64_t>(kTileValues / std::max<int64_t>(columns, 1), 1);
}

RowMerge::RowMerge(const File& file, const Difference& difference, double strength, bool exact, const RowSource& base)
    : difference_(difference), strength_(strength), dtype_(exact ? at::kDouble : at::kFloat) {
  for (const auto& [part, name] : difference.factors)
    factors_[part] = file.factor(difference, part).to(dtype_);
  if (!difference.dora || factor(Part::DoraScale).numel() == difference.shape[0]) return;
  const int64_t rows = difference.shape[0], tile = merge_tile(difference.shape.at(1));
  at::Tensor squares;
  for (int64_t first = 0; first < rows; first += tile) {
    const at::Tensor part = sum(base(first, std::min(tile, rows - first)), first).to(at::kDouble).square().sum(0, true);
    squares = squares.defined() ? squares + part : part;
  }
  const at::Tensor magnitude = factor(Part::DoraScale).reshape({1, -1}).to(at::kDouble);
  ratio_ = ((magnitude / (squares.sqrt() + kEpsilon) - 1) * strength + 1).to(dtype_);
}

at::Tensor RowMerge::factor(Part part) const {
  return factors_.at(part);
}

/// Rows of the difference [count, columns], without strength and scale.
at::Tensor RowMerge::product(int64_t first, int64_t count) const {
  const auto rows = [&](const at::Tensor& left) { return left.flatten(1).narrow(0, first, count); };
  switch (difference_.kind) {
    case Kind::LowRank:
      return rows(factor(Part::Up)).matmul(factor(Part::Down).flatten(1));
    case Kind::Hadamard:
      return rows(factor(Part::Hada1A))
          .matmul(factor(Part::Hada1B))
          .mul_(rows(factor(Part::Hada2A)).matmul(factor(Part::Hada2B)));
    case Kind::Kronecker: {
      const auto whole = [&](Part all, Part left, Part right) {
        return (factors_.contains(all) ? factor(all) : factor(left).matmul(factor(right))).flatten(1);
      };
      const at::Tensor a = whole(Part::W1, Part::W1A, Part::W1B), b = whole(Part::W2, Part::W2A, Part::W2B);
      const at::Tensor row = at::arange(first, first + count, at::kLong), inner = row.remainder(b.size(0));
      const at::Tensor outer = (row - inner).floor_divide(b.size(0));
      return (a.index_select(0, outer).unsqueeze(2) * b.index_select(0, inner).unsqueeze(1)).flatten(1);
    }
    case Kind::Full:
      return factors_.begin()->second.reshape({difference_.shape[0], -1}).narrow(0, first, count);
  }
  return {};
}

/// As File::merged, in its order: the product times strength and scale, then the weight.
at::Tensor RowMerge::sum(const at::Tensor& rows, int64_t first) const {
  const double scale = strength_ * difference_.scale;
  if (dtype_ == at::kFloat && difference_.kind == Kind::LowRank)  // in one pass: rows + scale * up down
    return at::addmm(rows, factor(Part::Up).flatten(1).narrow(0, first, rows.size(0)), factor(Part::Down).flatten(1), 1, scale);
  return rows.to(dtype_) + product(first, rows.size(0)).reshape(rows.sizes()).mul(scale);
}

at::Tensor RowMerge::operator()(const at::Tensor& rows, int64_t first) const {
  const at::Tensor merged = sum(rows, first);
  if (!difference_.dora) return merged.to(at::kFloat);
  if (ratio_.defined()) return merged.mul(ratio_).to(at::kFloat);
  const at::Tensor magnitude = factor(Part::DoraScale).reshape({-1, 1}).narrow(0, first, rows.size(0));
  const at::Tensor norm = merged.norm(2, {1}, /*keepdim=*/true) + kEpsilon;
  return merged.mul((magnitude / norm - 1) * strength_ + 1).to(at::kFloat);
}

}  // namespace wan::lora
