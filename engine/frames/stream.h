// Frames on their way from the VAE to the encoder: a stream of bounded length that passes through a chain of steps.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/base/rational.h"

namespace wan {

/// Neighbouring frames of a stream.
struct Frames {
  at::Tensor rgb;        // uint8 [t, H, W, 3], CPU, contiguous
  int64_t first = 0;     // number of the first of them in the stream
  Rational rate{16, 1};  // of the stream, frames a second: frame n stands at n / rate

  /// When the frame `index` of these stands in its stream, in seconds.
  Rational time(int64_t index) const { return {(first + index) * rate.denominator, rate.numerator}; }
};

using FrameSink = std::function<void(const Frames&)>;

/// What is done to frames before they are encoded: a step takes frames with their times and gives frames with theirs. It
/// sees some frames at a time, never the whole clip.
class FrameStep {
 public:
  virtual ~FrameStep() = default;
  /// Takes the next frames of its stream, and gives `next` as many as it can make of what came so far.
  virtual void take(const Frames& frames, const FrameSink& next) = 0;
  /// Nothing comes any more: gives `next` what was held back.
  virtual void end(const FrameSink& next) { (void)next; }
};

/// A chain of steps that ends in `sink`. Frames are numbered from 0 as they come.
class FrameStream {
 public:
  /// `rate`: of the frames that come, a second. The steps must outlive the stream.
  FrameStream(std::vector<FrameStep*> steps, FrameSink sink, Rational rate = {16, 1})
      : steps_(std::move(steps)), sink_(std::move(sink)), rate_(rate) {}

  /// uint8 [t, H, W, 3], CPU, contiguous: the next frames.
  void push(const at::Tensor& rgb);
  /// After the last frames.
  void end();
  /// How many frames came.
  int64_t count() const { return count_; }

 private:
  FrameSink from(size_t step) const;

  std::vector<FrameStep*> steps_;
  FrameSink sink_;
  Rational rate_;
  int64_t count_ = 0;
};

}  // namespace wan
