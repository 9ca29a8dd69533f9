// What works on the forwards of a run, or watches them, beside the transformer.
#pragma once

#include "engine/residency/loras.h"
#include "engine/sampling/captured_heads.h"
#include "engine/sampling/residual_meter.h"
#include "engine/sampling/skipping.h"
#include "engine/sampling/step_cache.h"

namespace wan {

/// Pointers must outlive the guidance; null: nothing of it.
struct ForwardOptions {
  StepAdapters adapters = {};       // which LoRAs a step has
  Skipping* skipping = nullptr;     // of its self-attention
  StepCache* cache = nullptr;       // reuses residuals of earlier steps
  ResidualMeter* meter = nullptr;   // measures how much residuals change; not beside a cache that is on
  HeadsCapture* capture = nullptr;  // keeps heads of it; not of speech
  /// Of the schedule, the step behind which no other needs the high-noise expert, so that the low-noise one is brought in
  /// while it runs. Not of speech.
  const Step* last_high = nullptr;
};

/// What a saved run left to be computed again before its next step, for cache or meter, in the order of the steps; once.
std::vector<StepCache::Lost> take_lost(const ForwardOptions& options);

/// The velocities of a step's branches, of which there are `count`, with what the options say of cache and meter. `lost`:
/// computes that again instead, and returns nothing.
std::vector<at::Tensor> forwarded(const Step& step, const at::Tensor& x, size_t count, const StepForward& forward,
                                  const ForwardOptions& options, const StepCache::Lost* lost);

}  // namespace wan
