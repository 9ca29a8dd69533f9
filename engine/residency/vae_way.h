// How the VAE goes through a clip: on whole frames, or in tiles where those have no room; and what decides.
#pragma once

#include <cstdint>

#include "engine/residency/machine.h"
#include "engine/residency/workload.h"

namespace wan {

/// On the CPU all give equal bytes, on a card the first two do.
enum class VaeWay {
  Own,     // each convolution keeps windows of its own
  Shared,  // windows are shared
  Tiles,   // the stages in tiles with their receptive field as halo (models/vae/tiles.h): the last resort
};
const char* vae_way_name(VaeWay way);  // "own windows", "shared windows", "tiles"

/// What a card of this memory (`total` bytes as the driver has it, rounded up to GiB) always gives a job where nothing
/// runs on it but a display.
uint64_t room_of_card(uint64_t total);

/// Whether a card computes in tiles what takes `whole` bytes on whole frames, weights included: where they have no room
/// in room_of_card, or in what the user allows of the card (`allowed`, --device-memory) if that is less. cuDNN chooses
/// by sizes, so that tiles have other last bits there: what is free now decides nothing.
bool card_takes_tiles(uint64_t whole, uint64_t total, uint64_t allowed = UINT64_MAX);

/// Of the workload at this size, with the ways alone that the VAE has on this machine: of a card one of whole frames
/// and tiles, of a CPU in its place both, of a CPU whole frames.
Demand demand_on(const Workload& workload, const Machine& machine, const Extent& extent);

}  // namespace wan
