// What the VAE takes in tiles, and on which cards it computes so.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/residency/device.h"
#include "engine/residency/extent.h"
#include "engine/residency/parts.h"
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

/// Rows of the tiles in which the VAE of the placement's card computes frames of this size in this dtype; 0: on whole
/// frames, and on the CPU. Throws ModelError.
int64_t card_tile_rows(const ModelParts& parts, const Placement& placement, const Extent& picture,
                       at::ScalarType dtype);

}  // namespace wan
