#include "engine/frames/safety.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "engine/frames/safety_input.h"
#include "engine/residency/not_finite.h"

namespace wan {

SafetyCheck::SafetyCheck(const SafetyNetwork& network, std::optional<double> threshold) : network_(network) {
  verdict_.threshold = threshold.value_or(network.checker().threshold());
}

void SafetyCheck::look(const at::Tensor& rgb, int64_t number) {
  const safety::Checker& checker = network_.checker();
  const at::Tensor pixels = safety_input(rgb, network_.preprocessing()).to(network_.device());
  const safety::Finding finding = checker(pixels).at(0);
  if (!std::isfinite(finding.score))
    throw NotFinite("[safety checker] gave NaN or Inf for picture " + std::to_string(number) +
                    "; its weights may be damaged: download them again");
  if (verdict_.pictures++ > 0 && finding.score <= verdict_.score) return;
  verdict_.score = finding.score;
  verdict_.worst = number;
  verdict_.flagged = finding.score > verdict_.threshold;
  verdict_.found = checker.found(finding, verdict_.threshold);
}

std::vector<int64_t> spread_frames(int64_t frames, int64_t count) {
  count = std::min(frames, count);
  if (count == 1) return {frames / 2};
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(i * (frames - 1) / (count - 1));
  return numbers;
}

SafetyStep::SafetyStep(SafetyCheck& check, int64_t frames, int64_t count)
    : check_(check), frames_(frames), wanted_(spread_frames(frames, count)) {
  if (count < 1) throw std::invalid_argument("[SafetyStep] must look at 1 frame or more");
}

void SafetyStep::take(const Frames& frames, const FrameSink& next) {
  const int64_t count = frames.rgb.size(0);
  bool looked = false;
  for (int64_t i = 0; i < count; ++i, ++seen_) {
    const bool wanted = next_ < wanted_.size() && seen_ == wanted_[next_];
    looked = wanted || (seen_ >= frames_ && (seen_ - frames_ + 1) % kSafetyApart == 0);
    if (wanted) ++next_;
    if (looked) check_.look(frames.rgb[i], seen_);
  }
  // A view: the piece lives until the next one comes.
  if (count > 0) last_ = looked ? at::Tensor() : frames.rgb[count - 1];
  next(frames);
}

void SafetyStep::end(const FrameSink&) {
  if (seen_ != frames_ && last_.defined()) check_.look(last_, seen_ - 1);
  last_ = at::Tensor();
}

}  // namespace wan
