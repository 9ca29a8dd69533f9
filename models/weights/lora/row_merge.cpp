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
    : difference_(difference),
      strength_(strength),
      dtype_(exact ? at::kDouble : at::kFloat),
      product_(file, difference, dtype_) {
  if (!difference.dora) return;
  const at::Tensor magnitudes = file.factor(difference, Part::DoraScale).flatten();
  if (difference.dora_by_rows) {
    magnitudes_ = magnitudes.to(dtype_).unsqueeze(1);
    return;
  }
  const int64_t rows = difference.shape[0], tile = merge_tile(difference.shape.at(1));
  at::Tensor squares;
  for (int64_t first = 0; first < rows; first += tile) {
    const at::Tensor part = sum(base(first, std::min(tile, rows - first)), first).to(at::kDouble).square().sum(0, true);
    squares = squares.defined() ? squares + part : part;
  }
  ratio_ = ((magnitudes.unsqueeze(0) / (squares.sqrt() + kEpsilon) - 1) * strength + 1).to(dtype_);
}

/// As File::merged, in its order: the product times strength and scale, then the weight.
at::Tensor RowMerge::sum(const at::Tensor& rows, int64_t first) const {
  const double scale = strength_ * difference_.scale;
  if (dtype_ == at::kFloat && difference_.kind == Kind::LowRank)  // in one pass: rows + scale * up down
    return at::addmm(rows, product_.matrix(Part::Up).narrow(0, first, rows.size(0)), product_.matrix(Part::Down), 1,
                     scale);
  return rows.to(dtype_) + product_.rows(first, rows.size(0)).reshape(rows.sizes()).mul(scale);
}

at::Tensor RowMerge::operator()(const at::Tensor& rows, int64_t first) const {
  const at::Tensor merged = sum(rows, first);
  if (!difference_.dora) return merged.to(at::kFloat);
  if (ratio_.defined()) return merged.mul(ratio_).to(at::kFloat);
  const at::Tensor magnitude = magnitudes_.narrow(0, first, rows.size(0));
  const at::Tensor norm = merged.norm(2, {1}, /*keepdim=*/true) + kEpsilon;
  return merged.mul((magnitude / norm - 1) * strength_ + 1).to(at::kFloat);
}

}  // namespace wan::lora
