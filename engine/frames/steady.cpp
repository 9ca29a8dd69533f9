#include "engine/frames/steady.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace wan {

/// Gives the held frame to all slots before this time, in slots.
void SteadyFrames::fill(double before, const std::function<void(const at::Tensor& rgb)>& give) {
  int64_t times = 0;
  for (; double(given_) < before; ++times, ++given_) give(held_);
  if (times == 0) ++dropped_;
  if (times > 1) repeated_ += times - 1;
}

void SteadyFrames::take(const at::Tensor& rgb, Rational time, const std::function<void(const at::Tensor& rgb)>& give) {
  if (held_.defined()) fill((time_.value() + time.value()) / 2 * rate_.value(), give);
  held_ = rgb;
  time_ = time;
}

void SteadyFrames::end(Rational until, const std::function<void(const at::Tensor& rgb)>& give) {
  if (!held_.defined()) return;
  // The last is shown once at least: half a slot of doubt goes to it.
  fill(std::max(until.value() * rate_.value() - 0.5, double(given_) + 0.5), give);
}

}  // namespace wan
