#include "engine/frames/tiled_interpolator.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace wan {
namespace {

constexpr int64_t kMultiple = 64;  // of sides, which both networks pad to

/// A whole frame, of which tiles are taken when their turn comes: features of all tiles at once would take the memory that
/// tiles are to save.
struct TiledFrame : Interpolator::Frame {
  explicit TiledFrame(at::Tensor picture) : rgb(std::move(picture)) {}
  const at::Tensor rgb;  // [1, 3, H, W]
};

/// 1 inside, and falling to the edges that a tile shares with neighbours; of two tiles at one place they are divided by
/// their sum afterwards.
at::Tensor weights_of(const TileSpan& span, int64_t length, const at::TensorOptions& options) {
  at::Tensor weights = at::ones({span.size}, options);
  const at::Tensor ramp = at::arange(1, kTileOverlap + 1, options).div_(double(kTileOverlap + 1));
  if (span.start > 0) weights.narrow(0, 0, kTileOverlap).copy_(ramp);
  if (span.start + span.size < length) weights.narrow(0, span.size - kTileOverlap, kTileOverlap).mul_(ramp.flip(0));
  return weights;
}

}  // namespace

std::vector<TileSpan> tile_spans(int64_t length, int64_t most, int64_t overlap) {
  if (length <= most) return {{0, length}};
  const int64_t size = std::max(most / kMultiple * kMultiple, 2 * overlap);
  if (size >= length) return {{0, length}};
  const int64_t count = (length - overlap + size - overlap - 1) / (size - overlap);
  std::vector<TileSpan> spans;
  for (int64_t i = 0; i < count; ++i) spans.push_back({i * (length - size) / (count - 1), size});
  return spans;
}

TileGrid tile_grid(int64_t height, int64_t width, uint64_t room,
                   const std::function<uint64_t(int64_t height, int64_t width)>& peak) {
  int64_t rows = height, columns = width;
  while (peak(rows, columns) > room) {
    int64_t& longer = rows > columns ? rows : columns;
    const int64_t less = (longer - 1) / kMultiple * kMultiple;
    if (less < kSmallestTile) break;
    longer = less;
  }
  return {tile_spans(height, rows, kTileOverlap), tile_spans(width, columns, kTileOverlap)};
}

std::shared_ptr<const Interpolator::Frame> TiledInterpolator::frame(const at::Tensor& rgb) const {
  return std::make_shared<TiledFrame>(rgb);
}

at::Tensor TiledInterpolator::between(const Frame& first, const Frame& second, double time) const {
  const at::Tensor &from = dynamic_cast<const TiledFrame&>(first).rgb,
                   &to = dynamic_cast<const TiledFrame&>(second).rgb;
  const at::TensorOptions options = from.options().dtype(at::kFloat);
  at::Tensor sum = at::zeros(from.sizes(), options), all = at::zeros({1, 1, from.size(2), from.size(3)}, options);
  for (const TileSpan& row : grid_.rows)
    for (const TileSpan& column : grid_.columns) {
      const auto tile = [&](const at::Tensor& x) {
        return x.narrow(2, row.start, row.size).narrow(3, column.start, column.size);
      };
      const auto a = whole_.frame(tile(from).contiguous()), b = whole_.frame(tile(to).contiguous());
      const at::Tensor weights =
          weights_of(row, from.size(2), options).unsqueeze(1) * weights_of(column, from.size(3), options).unsqueeze(0);
      tile(sum).add_(whole_.between(*a, *b, time).to(at::kFloat) * weights);
      tile(all).add_(weights);
    }
  return sum.div_(all).to(from.scalar_type());
}

}  // namespace wan
