// How the VAE goes through a clip: on whole frames, or in tiles where those have no room; what tiles take; and what
// decides.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/residency/device.h"
#include "engine/residency/machine.h"
#include "engine/residency/parts.h"
#include "engine/residency/workload.h"
#include "models/vae/tiles.h"

namespace wan {

/// On the CPU all give equal bytes, on a card the first two do.
enum class VaeWay {
  Own,     // each convolution keeps windows of its own
  Shared,  // windows are shared
  Tiles,   // the stages in tiles with their receptive field as halo (models/vae/tiles.h): the last resort
};
const char* vae_way_name(VaeWay way);  // "own windows", "shared windows", "tiles"

/// What the VAE takes in tiles of so many rows.
struct TileNeeds {
  uint64_t device = 0;  // bytes of activations, of decoding; encoding takes less
  uint64_t parked = 0;  // bytes on the host, which go to the device and back with each latent frame
  double work = 1;      // times the arithmetic of whole frames
};
TileNeeds tile_needs(int64_t base_width, const Extent& extent, at::ScalarType dtype,
                     int64_t tile_rows = vae::kTileRows);

/// Whether a card computes in tiles what takes `whole` bytes on whole frames, weights included. cuDNN chooses by sizes, so
/// that tiles have other last bits there: not what is free decides, but what a card of this memory (`total` bytes as the
/// driver has it, rounded up to GiB) can have free.
bool card_takes_tiles(uint64_t whole, uint64_t total);

/// Rows of the tiles in which the VAE of the placement's card computes frames of this size in this dtype; 0: on whole
/// frames, and on the CPU. Throws ModelError.
int64_t card_tile_rows(const ModelParts& parts, const Placement& placement, const Extent& picture,
                       at::ScalarType dtype);

/// Of the workload at this size, with the ways alone that the VAE has on this machine: of a card one of whole frames and
/// tiles, of a CPU in its place both, of a CPU whole frames.
Demand demand_on(const Workload& workload, const Machine& machine, const Extent& extent);

}  // namespace wan
