#include "models/weights/lora/row_merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "kernels/op/pieces.h"

namespace wan::lora {
namespace {

constexpr int64_t kTileValues = 1 << 19;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();  // as File::merged

int64_t tile_rows(int64_t columns) {
  return std::max<int64_t>(kTileValues / std::max<int64_t>(columns, 1), 1);
}

int64_t columns_of(const Difference& difference) {
  return difference.shape[0] > 0 ? difference.elements() / difference.shape[0] : 0;
}

}  // namespace

void each_tile(int64_t rows, int64_t columns, const std::function<void(int64_t first, int64_t count)>& work) {
  const int64_t tile = tile_rows(columns);
  kernels::in_pieces((rows + tile - 1) / tile, [&](int64_t i) { work(i * tile, std::min(tile, rows - i * tile)); });
}

RowMerge::RowMerge(const File& file, const Difference& difference, double strength, at::ScalarType dtype)
    : difference_(difference), strength_(strength), dtype_(dtype), product_(file, difference, dtype) {
  if (difference.dora) magnitudes_ = file.factor(difference, Part::DoraScale).flatten();
}

RowMerge::RowMerge(const File& file, const Difference& difference, double strength, bool exact, const RowSource& base)
    : RowMerge(file, difference, strength, exact ? at::kDouble : at::kFloat) {
  if (difference.dora && !difference.dora_by_rows) columns_ = column_factors(base).unsqueeze(0).to(dtype_);
}

at::Tensor RowMerge::dora_factors(const File& file, const Difference& difference, double strength,
                                  const RowSource& base) {
  const RowMerge merge(file, difference, strength, at::kFloat);
  if (!difference.dora_by_rows) return merge.column_factors(base);
  const at::Tensor factors = at::empty({difference.shape[0]}, at::kDouble);
  each_tile(difference.shape[0], columns_of(difference), [&](int64_t first, int64_t count) {
    factors.narrow(0, first, count).copy_(merge.row_factors(merge.sum(base(first, count), first), first));
  });
  return factors;
}

/// As File::merged, in its order: the product times strength and scale, then the weight.
at::Tensor RowMerge::sum(const at::Tensor& rows, int64_t first) const {
  const double scale = strength_ * difference_.scale;
  if (dtype_ == at::kFloat && difference_.kind == Kind::LowRank)  // in one pass: rows + scale * up down
    return at::addmm(rows, product_.matrix(Part::Up).narrow(0, first, rows.size(0)), product_.matrix(Part::Down), 1,
                     scale);
  return rows.to(dtype_) + product_.rows(first, rows.size(0)).reshape(rows.sizes()).mul(scale);
}

/// As LyCORIS blends: 1 + strength (magnitude / norm - 1).
at::Tensor RowMerge::factors_of(const at::Tensor& ratio) const {
  return (ratio - 1) * strength_ + 1;
}

/// Of rows of the sum.
at::Tensor RowMerge::row_factors(const at::Tensor& sum, int64_t first) const {
  const at::Tensor norms = sum.to(at::kDouble).norm(2, {1}) + kEpsilon;
  return factors_of(magnitudes_.narrow(0, first, sum.size(0)) / norms);
}

at::Tensor RowMerge::column_factors(const RowSource& base) const {
  const int64_t rows = difference_.shape[0], columns = columns_of(difference_), tile = tile_rows(columns);
  // Each tile's sums, added up in the order of the rows.
  const at::Tensor squares = at::empty({(rows + tile - 1) / tile, columns}, at::kDouble);
  each_tile(rows, columns, [&](int64_t first, int64_t count) {
    squares.select(0, first / tile).copy_(sum(base(first, count), first).to(at::kDouble).square().sum(0));
  });
  at::Tensor norms;
  kernels::in_pieces(1, [&](int64_t) { norms = squares.sum(0).sqrt(); });
  return factors_of(magnitudes_ / (norms + kEpsilon));
}

void RowMerge::add_to(const at::Tensor& rows, int64_t first) const {
  if (dtype_ == at::kFloat && difference_.kind == Kind::LowRank && !difference_.dora) {
    rows.addmm_(product_.matrix(Part::Up).narrow(0, first, rows.size(0)), product_.matrix(Part::Down), 1,
                strength_ * difference_.scale);
    return;
  }
  const at::Tensor merged = sum(rows, first);
  if (!difference_.dora)
    rows.copy_(merged);
  else
    rows.copy_(merged.mul(columns_.defined() ? columns_ : row_factors(merged, first).unsqueeze(1).to(dtype_)));
}

}  // namespace wan::lora
