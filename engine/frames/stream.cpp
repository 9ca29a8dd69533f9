#include "engine/frames/stream.h"

#include <ATen/ATen.h>

namespace wan {

/// What the frames in front of `step` go into.
FrameSink FrameStream::from(size_t step) const {
  if (step == steps_.size()) return sink_;
  return [this, step](const Frames& frames) { steps_[step]->take(frames, from(step + 1)); };
}

void FrameStream::push(const at::Tensor& rgb) {
  if (rgb.size(0) == 0) return;
  from(0)({rgb, count_, rate_});
  count_ += rgb.size(0);
}

void FrameStream::end() {
  for (size_t step = 0; step < steps_.size(); ++step) steps_[step]->end(from(step + 1));
}

}  // namespace wan
