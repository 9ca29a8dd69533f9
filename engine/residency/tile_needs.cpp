#include "engine/residency/tile_needs.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>

#include "engine/residency/needs.h"
#include "engine/residency/placed_bytes.h"
#include "engine/residency/vae_way.h"

namespace wan {

namespace {

/// The VAE's level whose frames are 1 / 2^`down` as high as the picture, in tiles.
struct Rows {
  double share;   // of the level's rows that the largest tile and its halo have
  double all;     // rows of all tiles and their halos, as a share of the level's
  bool one_tile;  // nothing is kept of whole frames then
};

Rows rows_of(int64_t height, int64_t down, int64_t tile_rows) {
  const int64_t rows = std::max<int64_t>(height >> down, 1), tiles = (rows + tile_rows - 1) / tile_rows,
                halo = vae::kDecoderHalo.above + vae::kDecoderHalo.below;
  const int64_t largest = std::min(rows, tile_rows + (tiles > 2 ? halo : halo / 2));
  return {double(largest) / double(rows), double(rows + (tiles - 1) * halo) / double(rows), tiles == 1};
}

}  // namespace

// In frames of the base width at full size, as in vae_bytes. What layers remember: 14 at the last level, 6, 3.25 and 0.9
// at those before, 0.6 before the levels.
TileNeeds tile_needs(int64_t base_width, const Extent& extent, at::ScalarType dtype, int64_t tile_rows) {
  const auto level = [&](int64_t down) { return rows_of(extent.height, down, tile_rows); };
  const Rows last = level(0), third = level(1), second = level(2), first = level(3);
  constexpr double kBefore = 0.6;
  // A window of 6, the chunk, and a result of 4 each.
  const double at_last = (last.one_tile ? 0 : 4) + (14 + 6 + 4 + 4) * last.share;
  // The same of half the size; the doubled result of 4 and a quarter of it; the whole frames before and behind.
  const double at_third =
      (third.one_tile ? 0 : 2 + 4) + (6 + 2 + 4 + 1) * third.share + std::max(6 * last.share, 3 * third.share);
  const double frame = double(base_width * extent.height * extent.width) * double(c10::elementSize(dtype));
  TileNeeds needs;
  needs.device = uint64_t(frame * (kBefore + std::max(at_last, at_third)));
  needs.parked = uint64_t(frame * (14 * last.all + 6 * third.all + 3.25 * second.all + 0.9 * first.all));
  // Convolutions of the levels by their arithmetic: two in five at each of the last two, one in five before them.
  needs.work = 0.4 * last.all + 0.4 * third.all + 0.2 * second.all;
  return needs;
}

int64_t card_tile_rows(const ModelParts& parts, const Placement& placement, const Extent& picture,
                       at::ScalarType dtype) {
  const at::Device device = placement.device;
  if (!device.is_cuda()) return 0;
  Placement computing = placement;
  computing.vae = dtype;
  const uint64_t total = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second;
  const uint64_t whole =
      placed_bytes(Network::Vae, parts, computing) + vae_bytes(vae_width(parts), picture, dtype, vae::Windows::Shared);
  return card_takes_tiles(whole, total) ? vae::kTileRows : 0;
}

}  // namespace wan
