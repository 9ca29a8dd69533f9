// Frames drawn in tiles, where whole ones would take more memory than there is.
#pragma once

#include <functional>
#include <vector>

#include "engine/residency/interpolator.h"

namespace wan {

/// Where a tile lies along one side.
struct TileSpan {
  int64_t start, size;
  bool operator==(const TileSpan&) const = default;
};

/// Spans of one size that cover a side of `length`, each over its neighbours by at least `overlap`: as many as it needs for
/// at most `most` pixels each. One where it fits. Sizes are multiples of 64 where there are several.
std::vector<TileSpan> tile_spans(int64_t length, int64_t most, int64_t overlap);

/// How frames of a size are cut.
struct TileGrid {
  std::vector<TileSpan> rows, columns;
  bool is_whole() const { return rows.size() == 1 && columns.size() == 1; }
};

/// Pixels that neighbouring tiles share: what moves farther than half of that from one frame to the next is not followed
/// over their border.
constexpr int64_t kTileOverlap = 128;
/// The smallest side that frames are cut into.
constexpr int64_t kSmallestTile = 256;

/// The coarsest grid whose tiles take at most `room` bytes, by `peak(height, width)`, which is what the network says; the
/// finest there is where none does.
TileGrid tile_grid(int64_t height, int64_t width, uint64_t room,
                   const std::function<uint64_t(int64_t height, int64_t width)>& peak);

/// Tiles one after another, their pictures blended linearly over what they share.
class TiledInterpolator : public Interpolator {
 public:
  /// `whole` must outlive it.
  TiledInterpolator(const Interpolator& whole, TileGrid grid) : whole_(whole), grid_(std::move(grid)) {}

  at::Device device() const override { return whole_.device(); }
  at::ScalarType dtype() const override { return whole_.dtype(); }
  std::shared_ptr<const Frame> frame(const at::Tensor& rgb) const override;
  at::Tensor between(const Frame& first, const Frame& second, double time) const override;

 private:
  const Interpolator& whole_;
  TileGrid grid_;
};

}  // namespace wan
