#include "engine/residency/tile_needs.h"

#include <algorithm>

#include "engine/residency/needs.h"
#include "engine/residency/network_sizes.h"
#include "engine/residency/vae_way.h"

namespace wan {

namespace {

/// The VAE's level whose frames are 1 / 2^`down` as high as the picture, in tiles.
struct Rows {
  double share;   // of the level's rows that the largest tile and its halo have
  double all;     // rows of all tiles and their halos, as a share of the level's
  bool one_tile;  // nothing is kept of whole frames then
};

Rows rows_of(int64_t height, int64_t down, int64_t tile_rows, const vae::Halo& halo) {
  const int64_t rows = std::max<int64_t>(height >> down, 1), tiles = (rows + tile_rows - 1) / tile_rows,
                both = halo.above + halo.below, one = std::max(halo.above, halo.below);
  const int64_t largest = std::min(rows, tile_rows + (tiles > 2 ? both : one));
  return {double(largest) / double(rows), double(rows + (tiles - 1) * both) / double(rows), tiles == 1};
}

/// Bytes of a frame of the base width at full size.
double frame_bytes(int64_t base_width, const Extent& extent, at::ScalarType dtype) {
  return double(base_width * extent.height * extent.width) * double(c10::elementSize(dtype));
}

}  // namespace

// In frames of the base width at full size, as in vae_bytes. What layers remember: 14 at the last level, 6, 3.25 and
// 0.9 at those before, 0.6 before the levels.
TileNeeds tile_needs(int64_t base_width, const Extent& extent, at::ScalarType dtype, int64_t tile_rows) {
  const auto level = [&](int64_t down) { return rows_of(extent.height, down, tile_rows, vae::kDecoderHalo); };
  const Rows last = level(0), third = level(1), second = level(2), first = level(3);
  constexpr double kBefore = 0.6;
  // A window of 6, the chunk, and a result of 4 each.
  const double at_last = (last.one_tile ? 0 : 4) + (14 + 6 + 4 + 4) * last.share;
  // The same of half the size; the doubled result of 4 and a quarter of it; the whole frames before and behind.
  const double at_third =
      (third.one_tile ? 0 : 2 + 4) + (6 + 2 + 4 + 1) * third.share + std::max(6 * last.share, 3 * third.share);
  const double frame = frame_bytes(base_width, extent, dtype);
  TileNeeds needs;
  needs.device = uint64_t(frame * (kBefore + std::max(at_last, at_third)));
  needs.on_host = uint64_t(frame * (14 * last.all + 6 * third.all + 3.25 * second.all + 0.9 * first.all));
  // Convolutions of the levels by their arithmetic: two in five at each of the last two, one in five before them.
  needs.work = 0.4 * last.all + 0.4 * third.all + 0.2 * second.all;
  return needs;
}

// In the same frames. What layers remember: 8 at full size and two frames of pixels, 3.6 and 1.8 at the stages behind
// it, 1.1 in the last one, which is not cut.
TileNeeds encode_tile_needs(int64_t base_width, const Extent& extent, at::ScalarType dtype, int64_t tile_rows) {
  const auto level = [&](int64_t down) { return rows_of(extent.height, down, tile_rows, vae::kEncoderHalo); };
  const Rows first = level(0), second = level(1), third = level(2);
  const double pixels = 3.0 / double(base_width);  // a frame of them
  constexpr double kFirst = 8, kSecond = 3.6, kThird = 1.8, kLast = 1.1;
  // A window of 6, the chunk, and a result of 4 each; the stage's whole output, and the one of the chunk before while
  // frames repeat.
  const double at_first = (first.one_tile ? 1 : 2) + (kFirst + 2 * pixels + 6 + 4 + 4) * first.share;
  // Twice as wide at half the size: the chunk of 1, a result and its shortcut of 2 each; whole input and outputs.
  const double at_second = (second.one_tile ? 0.25 : 1.5) + (kSecond + 1 + 2 + 2) * second.share +
                           std::max(6 * first.share, 3 * second.share);
  const double frame = frame_bytes(base_width, extent, dtype);
  TileNeeds needs;
  needs.device = uint64_t(frame * (kLast + 4 * pixels + std::max(at_first, at_second)));
  needs.on_host = uint64_t(frame * ((kFirst + 2 * pixels) * first.all + kSecond * second.all + kThird * third.all));
  // Convolutions by their arithmetic: two in five at full size, about as many behind it, in the last stage one in 20.
  needs.work = 0.4 * first.all + 0.35 * second.all + 0.2 * third.all + 0.05;
  return needs;
}

VaeTiles card_tiles(const ModelParts& parts, const Placement& placement, const Machine& machine, const Extent& extent) {
  if (!machine.is_card || machine.stands_in) return {};
  const int64_t width = vae_width(parts);
  const auto rows = [&](at::ScalarType dtype) {
    Placement computing = placement;
    computing.vae = dtype;
    const uint64_t weights = network_sizes(Network::Vae, parts, computing, /*copied=*/false).device();
    const uint64_t whole = weights + vae_bytes(width, extent, dtype);
    return card_takes_tiles(whole, machine.device_total, machine.allowed) ? vae::kTileRows : 0;
  };
  return {.half = placement.vae == at::kHalf ? rows(at::kHalf) : 0, .wide = rows(at::kFloat)};
}

}  // namespace wan
