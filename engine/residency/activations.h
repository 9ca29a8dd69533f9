// Activations of the stages of a job, as they are forecast.
#pragma once

#include <cstdint>

#include "engine/residency/parts.h"
#include "engine/residency/workload.h"

namespace wan {

/// In bytes: of the largest job that the networks are for.
struct Activations {
  uint64_t text = 0, denoise = 0, vae = 0;
  uint64_t vae_tiles = 0;  // of the VAE in tiles, where it may take them instead of whole frames
  bool switches = false;   // whether a job has steps of both experts
  uint64_t interpolation =
      0;  // of an interpolator and a safety checker beside the VAE while it decodes, with their weights

  bool operator==(const Activations&) const = default;
  uint64_t most() const;
  /// Becomes that of the larger of both, one by one.
  void widen(const Activations& other);
  /// Of the stage in which the network works. 0 for the audio encoder, which is not on the device.
  uint64_t of(Network network) const;
};

/// Those that the planner counts with: of a demand of the workload (demand_on), or of its demand at its size.
Activations activations_of(const Workload& workload, const Demand& demand);
Activations activations_of(const Workload& workload);

}  // namespace wan
