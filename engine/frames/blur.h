// Frames that show colours and no things.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/frames/stream.h"

namespace wan {

/// uint8 [t, H, W, 3] on the CPU -> the same shape, blurred beyond recognition: each frame reduced to 12 pixels of its
/// shorter side (a quarter of a side below 48), of which each is a mean of a part, and enlarged again by a smooth filter.
/// What was there cannot be computed from it.
at::Tensor blurred(const at::Tensor& rgb);

/// Blurs every frame that passes by.
class BlurStep : public FrameStep {
 public:
  void take(const Frames& frames, const FrameSink& next) override {
    next({blurred(frames.rgb), frames.first, frames.rate});
  }
};

}  // namespace wan
