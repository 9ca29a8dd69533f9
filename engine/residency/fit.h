// Whether a job fits, before anything is loaded: the planner's word on this machine.
#pragma once

#include <exception>
#include <optional>

#include "engine/residency/activations.h"
#include "engine/residency/device.h"
#include "engine/residency/extent.h"
#include "engine/residency/parts.h"
#include "engine/residency/vae_tiles.h"

namespace wan {

struct Fit {
  Activations activations = {};
  VaeTiles tiles = {};              // that the VAE computes in
  std::exception_ptr refusal = {};  // the InvalidRequest of plan(); null: it fits

  /// Throws the refusal.
  void check() const {
    if (refusal) std::rethrow_exception(refusal);
  }
};

/// Of a request on its placement, with what is free now. `before`: what it was begun with, or the video that it replays
/// was made with. Reads headers alone. Throws ModelError.
Fit fit_of(const Request& request, const ModelParts& parts, const Placement& placement,
           const std::optional<VaeTiles>& before = {});
/// Of decoding latents of this size alone. Throws ModelError.
Fit decode_fit(const ModelParts& parts, const Extent& extent, const Placement& placement,
               const std::optional<VaeTiles>& before = {});

}  // namespace wan
