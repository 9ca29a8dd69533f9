// What the VAE takes in tiles, and on which cards it computes so.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/residency/device.h"
#include "engine/residency/extent.h"
#include "engine/residency/machine.h"
#include "engine/residency/parts.h"
#include "engine/residency/vae_tiles.h"
#include "models/vae/tiles.h"

namespace wan {

/// What the VAE takes in tiles of so many rows.
struct TileNeeds {
  uint64_t device = 0;   // bytes of activations
  uint64_t on_host = 0;  // bytes on the host, which go to the device and back with each latent frame
  double work = 1;       // times the arithmetic of whole frames
};
/// Of decoding.
TileNeeds tile_needs(int64_t base_width, const Extent& extent, at::ScalarType dtype,
                     int64_t tile_rows = vae::kTileRows);
/// Of encoding a picture and what follows it, which repeats.
TileNeeds encode_tile_needs(int64_t base_width, const Extent& extent, at::ScalarType dtype,
                            int64_t tile_rows = vae::kTileRows);

/// Rows of the tiles in which a card computes a job of this size by itself (card_takes_tiles), in each dtype that the
/// placement's VAE may compute in; on a CPU, and on one that stands for a card, none. Throws ModelError.
VaeTiles card_tiles(const ModelParts& parts, const Placement& placement, const Machine& machine, const Extent& extent);

}  // namespace wan
