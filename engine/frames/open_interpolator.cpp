#include "engine/frames/open_interpolator.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "engine/residency/interpolator_network.h"

namespace wan {

namespace {

std::string tiles_text(const TileGrid& grid) {
  if (grid.is_whole()) return "";
  return std::to_string(grid.rows.size()) + " x " + std::to_string(grid.columns.size()) + " tiles of " +
         std::to_string(grid.columns[0].size) + "x" + std::to_string(grid.rows[0].size);
}

/// What TiledInterpolator holds of whole frames: the two of a pair, the result, and in float32 its sum and the weights of
/// that.
uint64_t held_whole(const InterpolatorNeeds& needs, int64_t height, int64_t width) {
  return uint64_t(height) * uint64_t(width) * (4 * sizeof(float) + 3 * 3 * c10::elementSize(needs.dtype));
}

/// Of one pair in tiles of this size.
uint64_t peak_in_tiles(const InterpolatorNeeds& needs, int64_t height, int64_t width, int64_t rows, int64_t columns) {
  const uint64_t peak = needs.peak(rows, columns);
  if (rows == height && columns == width) return peak;
  return peak + held_whole(needs, height, width);
}

/// Tiles have a quarter of the room at least, also where whole frames take more than the rest: smaller ones take ages.
TileGrid grid_of(const InterpolatorNeeds& needs, int64_t height, int64_t width) {
  const uint64_t room = std::max(needs.room, held_whole(needs, height, width) + needs.room / 4);
  return tile_grid(height, width, room,
                   [&](int64_t rows, int64_t columns) { return peak_in_tiles(needs, height, width, rows, columns); });
}

}  // namespace

DrawingDetails drawing_details(const InterpolatorPart& part, const Placement& placement, int64_t height,
                               int64_t width) {
  const InterpolatorNeeds needs = interpolator_needs(part, placement);
  return {.tiles = tiles_text(grid_of(needs, height, width)), .version = needs.releases};
}

OpenInterpolator::OpenInterpolator(const InterpolatorPart& part, const Placement& placement, int64_t height,
                                   int64_t width, const Log& log) {
  const InterpolatorNeeds needs = interpolator_needs(part, placement);
  const TileGrid grid = grid_of(needs, height, width);
  const uint64_t activations = peak_in_tiles(needs, height, width, grid.rows[0].size, grid.columns[0].size);
  if (placement.budget) {
    weights_ = placement.budget->take(needs.weights, "interpolator");
    activations_ = placement.budget->take(activations, "interpolation");
  }
  whole_ = load_interpolator(part, placement);
  // It computes on another stream than the one that its weights were copied by.
  if (placement.device.is_cuda())
    c10::impl::VirtualGuardImpl(placement.device.type()).synchronizeDevice(placement.device.index());
  if (!grid.is_whole()) tiled_ = std::make_unique<TiledInterpolator>(*whole_, grid);
  Log::Fields fields = {{"network", part.model}, {"bytes", needs.weights}, {"activation_bytes", activations}};
  if (!needs.releases.empty()) fields["version"] = needs.releases;
  if (tiled_) {
    fields["tiles"] = tiles_text(grid);
    fields["reason"] = "whole frames would take more memory than is set aside for them";
  }
  log("interpolator", fields);
}

const Interpolator& OpenInterpolator::network() const {
  return tiled_ ? static_cast<const Interpolator&>(*tiled_) : *whole_;
}

}  // namespace wan
