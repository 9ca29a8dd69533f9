#include "engine/frames/interpolate.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <utility>

#include "engine/residency/not_finite.h"
#include "kernels/op/range.h"

namespace wan {

InterpolateStep::InterpolateStep(const Interpolation& how, const Interpolator* network)
    : how_(how),
      order_(how.model == "film" && !how.direct ? by_midpoints(how.between) : directly(how.between)),
      network_(network) {
  if (!how.is_on()) throw std::invalid_argument("[InterpolateStep] must have frames to draw");
}

void InterpolateStep::use(const Interpolator* network) {
  network_ = network;
  handle_.reset();
}

void InterpolateStep::go_on_after(const at::Tensor& frame) {
  last_ = frame.contiguous();
  handle_.reset();
}

void InterpolateStep::take(const Frames& frames, const FrameSink& next) {
  const Rational rate = how_.rate(frames.rate);
  for (int64_t i = 0; i < frames.rgb.size(0); ++i) {
    // A view would keep the whole piece alive.
    const at::Tensor frame = frames.rgb.size(0) == 1 ? frames.rgb[i].contiguous() : frames.rgb[i].clone();
    at::Tensor given;
    if (last_.defined()) {
      given = pair(frame);
    } else {
      given = frame.unsqueeze(0);
      go_on_after(frame);
    }
    const int64_t first = given_;
    given_ += given.size(0);
    next({given, first, rate});
  }
}

/// The frames between the last one and this, and this one, uint8 [between + 1, H, W, 3]; it is the last one then.
at::Tensor InterpolateStep::pair(const at::Tensor& frame) {
  if (frame.sizes() != last_.sizes())
    throw std::invalid_argument("[InterpolateStep] frames must be of one size, got " + c10::str(last_.sizes()) +
                                " and " + c10::str(frame.sizes()));
  const Pair kind = pair_of(last_, frame);
  ++counts_.pairs;
  if (kind == Pair::Still) ++counts_.still;
  if (kind == Pair::Cut) ++counts_.cuts;
  at::Tensor given;
  if (kind == Pair::Moving) {
    given = drawn(frame);
  } else {
    std::vector<at::Tensor> frames;
    for (int64_t i = 1; i <= how_.between; ++i) frames.push_back(2 * i <= how_.between + 1 ? last_ : frame);
    frames.push_back(frame);
    given = at::stack(frames);
    handle_.reset();
  }
  last_ = frame;
  return given;
}

at::Tensor InterpolateStep::drawn(const at::Tensor& frame) {
  if (!network_) throw std::logic_error("[InterpolateStep] has no interpolator");
  const kernels::Range range(kernels::RangeKind::Step, "frames between", counts_.pairs);
  std::vector<Handle> there(size_t(how_.between + 2));
  std::vector<at::Tensor> pictures(size_t(how_.between + 1));
  there.front() = handle_ ? std::move(handle_) : handle_of(last_);
  there.back() = handle_of(frame);
  pictures.back() = frame;
  for (size_t i = 0; i < order_.size(); ++i) {
    const auto [wanted, left, right] = order_[i];
    const at::Tensor picture = network_->between(*there[size_t(left)], *there[size_t(right)], order_[i].time());
    if (!picture.isfinite().all().item<bool>())
      throw NotFinite("[interpolate] " + how_.model + " gave NaN or Inf between frames " +
                      std::to_string(counts_.pairs) + " and " + std::to_string(counts_.pairs + 1) +
                      "; its file may be damaged: --interpolator names another, and a render goes on with "
                      "--interpolator-model none");
    pictures[size_t(wanted - 1)] = to_bytes(picture);
    bool needed = false;
    for (size_t later = i + 1; later < order_.size(); ++later)
      needed = needed || order_[later].left == wanted || order_[later].right == wanted;
    if (needed) there[size_t(wanted)] = network_->frame(picture);
  }
  handle_ = std::move(there.back());
  return at::stack(pictures);
}

InterpolateStep::Handle InterpolateStep::handle_of(const at::Tensor& rgb) const {
  const at::Tensor picture = rgb.to(network_->device()).permute({2, 0, 1}).unsqueeze(0).to(at::kFloat).div_(255);
  return network_->frame(picture.to(network_->dtype()).contiguous());
}

/// Rounded, so that a value of 8 bits that went through unchanged comes back: uint8 [H, W, 3] on the CPU.
at::Tensor InterpolateStep::to_bytes(const at::Tensor& picture) const {
  const at::Tensor scaled = picture.to(at::kFloat).clamp(0, 1).mul_(255).round_();
  return scaled[0].permute({1, 2, 0}).to(at::kByte).contiguous().cpu();
}

}  // namespace wan
