// Frames of a file whose times vary, at a constant rate.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "engine/base/rational.h"

namespace wan {

/// Slot n stands at n / rate and gets the frame whose time is nearest: each frame serves the slots from half way since the
/// one before to half way to the next. Where times differ from n / rate by less than half a slot, as they do in files of
/// whole milliseconds, every frame has one slot. Holds one frame.
class SteadyFrames {
 public:
  explicit SteadyFrames(Rational rate) : rate_(rate) {}

  /// The next frame, with its time in seconds since the first; `give` gets the frames that are settled by it, in their
  /// order.
  void take(const at::Tensor& rgb, Rational time, const std::function<void(const at::Tensor& rgb)>& give);
  /// After the last, which is shown until `until`.
  void end(Rational until, const std::function<void(const at::Tensor& rgb)>& give);

  int64_t given() const { return given_; }
  /// Frames that had no slot, and slots that repeat one.
  int64_t dropped() const { return dropped_; }
  int64_t repeated() const { return repeated_; }

 private:
  void fill(double before, const std::function<void(const at::Tensor& rgb)>& give);

  const Rational rate_;
  at::Tensor held_;
  Rational time_;
  int64_t given_ = 0, dropped_ = 0, repeated_ = 0;
};

}  // namespace wan
