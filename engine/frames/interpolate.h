// Frames drawn between those that pass by: one step of the chain.
#pragma once

#include <memory>
#include <vector>

#include "engine/frames/midpoints.h"
#include "engine/frames/scene.h"
#include "engine/frames/stream.h"
#include "engine/request/interpolation.h"
#include "engine/residency/interpolator.h"

namespace wan {

/// What came of the pairs of frames.
struct PairCounts {
  int64_t pairs = 0, still = 0, cuts = 0;
};

/// Holds one frame, and with the next draws those between. Frames that come are passed on as they are. Where the picture
/// stands still or is cut (scene.h) the nearer of the two frames is repeated, of two as near the first. Nothing of what it
/// keeps grows with the stream.
class InterpolateStep : public FrameStep {
 public:
  /// `how` is on (Interpolation::is_on). `network` must outlive the step; null: set with use() before a pair comes.
  InterpolateStep(const Interpolation& how, const Interpolator* network);

  /// Another interpolator of the same weights from now on, or none until the next call.
  void use(const Interpolator* network);
  /// uint8 [H, W, 3]: the frame before the first that comes, which was passed on already: the stream goes on after it.
  void go_on_after(const at::Tensor& frame);
  /// The frame that came last; undefined before the first.
  const at::Tensor& last() const { return last_; }
  const PairCounts& counts() const { return counts_; }

  /// Gives the first frame at once, and with each later one those between and itself. Throws NotFinite where the network
  /// gives NaN or Inf, and what it throws.
  void take(const Frames& frames, const FrameSink& next) override;

 private:
  using Handle = std::shared_ptr<const Interpolator::Frame>;

  at::Tensor pair(const at::Tensor& frame);
  at::Tensor drawn(const at::Tensor& frame);
  Handle handle_of(const at::Tensor& rgb) const;
  at::Tensor to_bytes(const at::Tensor& picture) const;

  const Interpolation how_;
  const std::vector<DrawnFrame> order_;
  const Interpolator* network_;
  at::Tensor last_;    // uint8 [H, W, 3]
  Handle handle_;      // of it; null where none was needed yet
  int64_t given_ = 0;  // frames that were passed on
  PairCounts counts_;
};

}  // namespace wan
