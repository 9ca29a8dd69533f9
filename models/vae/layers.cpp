#include "models/vae/layers.h"

#include <ATen/ATen.h>

#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/convolution/conv3d.h"
#include "kernels/linear/linear.h"
#include "kernels/norm/channel_norm.h"
#include "models/weights/scope.h"

namespace wan::vae {
namespace {

/// A weight in the mapped file stays there and is converted at use; one on a device is converted once, and a
/// convolution's lies channels last, as its input does: cuDNN would bring it there at every call.
Tensor take(const Scope& at, std::string_view leaf, at::IntArrayRef shape, const Build& build) {
  Tensor tensor = at.take(leaf, shape, Role::Float32);
  if (!tensor.defined() || tensor.is_cpu()) return tensor;
  tensor = tensor.to(build.dtype);
  if (tensor.dim() == 5) return tensor.contiguous(at::MemoryFormat::ChannelsLast3d);
  return tensor.dim() == 4 ? tensor.contiguous(at::MemoryFormat::ChannelsLast) : tensor;
}

/// gamma [C, 1, 1(, 1)] as [C].
Tensor take_gamma(const Scope& at, int64_t channels, int64_t ones, const Build& build) {
  std::vector<int64_t> shape(1 + ones, 1);
  shape[0] = channels;
  Tensor gamma = take(at, "gamma", shape, build);
  return gamma.defined() ? gamma.flatten() : gamma;
}

/// Copies `frames` into the slot, in place where it already holds as many.
void remember(Tensor& slot, const Tensor& frames) {
  if (slot.defined())
    slot.copy_(frames);
  else
    slot = frames.clone();
}

}  // namespace

Tensor FrameCache::shared_room(at::IntArrayRef shape, const at::TensorOptions& options) {
  // Fresh memory for each layer would be faulted in page by page.
  const int64_t elements = c10::multiply_integers(shape);
  if (!room_.defined() || room_.numel() < elements) {
    room_.reset();
    room_ = at::empty({elements}, options);
  }
  return room_.narrow(0, 0, elements).view(shape);
}

Tensor FrameCache::window(int64_t slot, at::IntArrayRef shape, const at::TensorOptions& options) {
  const std::vector<int64_t> whole = {kPast + shape[0], shape[1], shape[2], shape[3]};
  Tensor past = slots_.at(slot);
  const bool moves = windows_ == Windows::Own && past.defined() && past.sizes() == whole;
  Tensor window = moves ? past : windows_ == Windows::Shared ? shared_room(whole, options) : at::empty(whole, options);
  // Frame by frame, earlier ones first: in an own window of one new frame both pairs overlap.
  for (int64_t frame = 0; frame < kPast; ++frame) {
    if (past.defined())
      window[frame].copy_(past[past.size(0) - kPast + frame]);
    else
      window[frame].zero_();
  }
  return window;
}

void FrameCache::keep(int64_t slot, const Tensor& window) {
  if (windows_ == Windows::Own)
    slots_.at(slot) = window;
  else
    remember(slots_.at(slot), window.narrow(0, window.size(0) - kPast, kPast));
}

int64_t FrameCache::bytes() const {
  int64_t sum = room_.defined() ? int64_t(room_.nbytes()) : 0;
  for (const Tensor& slot : slots_) sum += slot.defined() ? int64_t(slot.nbytes()) : 0;
  return sum;
}

CausalConv::CausalConv(const Scope& at, int64_t in, int64_t out, Build& build)
    : weight(take(at, "weight", {out, in, 3, 3, 3}, build)),
      bias(take(at, "bias", {out}, build)),
      slot(build.slots++) {}

Tensor CausalConv::operator()(Tensor x, const Tensor& gamma, FrameCache& cache) const {
  const int64_t frames = x.size(0);
  const bool starts_alone = !cache[slot].defined() && frames == 1;
  Tensor window = cache.window(slot, x.sizes(), x.options()), present = window.narrow(0, kPast, frames);
  if (gamma.defined())
    kernels::channel_norm_silu(x, gamma, /*activate=*/true, present);
  else
    present.copy_(x);
  x.reset();
  cache.keep(slot, window);
  // The first frame sees zeros before it: two thirds of the products would be with zeros.
  return starts_alone ? kernels::conv3d(present, weight.narrow(2, kPast, 1), bias)
                      : kernels::conv3d(window, weight, bias);
}

PixelLinear::PixelLinear(const Scope& at, int64_t in, int64_t out, int64_t ones, const Build& build)
    : bias(take(at, "bias", {out}, build)) {
  std::vector<int64_t> shape(2 + ones, 1);
  shape[0] = out, shape[1] = in;
  weight = take(at, "weight", shape, build);
  if (weight.defined()) weight = weight.view({out, in});
}

Tensor PixelLinear::operator()(const Tensor& x) const {
  return kernels::linear(x, weight, bias);
}

NormedConv::NormedConv(const Scope& at, int64_t norm, int64_t conv, int64_t in, int64_t out, Build& build)
    : gamma(take_gamma(at / norm, in, 3, build)), conv(at / conv, in, out, build) {}

ResidualBlock::ResidualBlock(const Scope& at, int64_t in, int64_t out, Build& build)
    : first(at / "residual", 0, 2, in, out, build), second(at / "residual", 3, 6, out, out, build) {
  if (in != out) shortcut.emplace(at / "shortcut", in, out, 3, build);
}

Tensor ResidualBlock::operator()(const Tensor& x, FrameCache& cache) const {
  Tensor y = second(first(x, cache), cache);
  return y.add_(shortcut ? (*shortcut)(x) : x);
}

FrameAttention::FrameAttention(const Scope& at, int64_t channels, const Build& build)
    : gamma(take_gamma(at / "norm", channels, 2, build)),
      to_qkv(at / "to_qkv", channels, 3 * channels, 2, build),
      proj(at / "proj", channels, channels, 2, build) {}

Tensor FrameAttention::operator()(const Tensor& x) const {
  const int64_t frames = x.size(0), pixels = x.size(1) * x.size(2), channels = x.size(3);
  Tensor normed = at::empty_like(x);
  kernels::channel_norm_silu(x, gamma, /*activate=*/false, normed);
  const std::vector<Tensor> qkv = to_qkv(normed).view({frames, pixels, 1, 3 * channels}).chunk(3, -1);
  Tensor y = kernels::attention(qkv[0], qkv[1], qkv[2], 1 / std::sqrt(double(channels)));
  return proj(y.reshape(x.sizes())).add_(x);
}

Downsample::Downsample(const Scope& at, int64_t channels, bool temporal, Build& build)
    : weight(take(at / "resample" / 1, "weight", {channels, channels, 3, 3}, build)),
      bias(take(at / "resample" / 1, "bias", {channels}, build)) {
  if (!temporal) return;
  time_weight = take(at / "time_conv", "weight", {channels, channels, 3, 1, 1}, build);
  time_bias = take(at / "time_conv", "bias", {channels}, build);
  slot = build.slots++;
}

Tensor Downsample::operator()(const Tensor& x, FrameCache& cache) const {
  Tensor y = kernels::conv2d_down(x, weight, bias);
  if (slot < 0) return y;
  Tensor& last = cache[slot];
  const bool starts = !last.defined();
  const Tensor window = starts ? y : at::cat({last, y});
  remember(last, y.narrow(0, y.size(0) - 1, 1));
  // The first chunk passes as it is: nothing lies before it.
  return starts ? y : kernels::conv3d(window, time_weight, time_bias, /*time_stride=*/2);
}

Upsample::Upsample(const Scope& at, int64_t channels, bool temporal, Build& build)
    : folded(take(at / "resample" / 1, "weight", {channels / 2, channels, 3, 3}, build)),
      bias(take(at / "resample" / 1, "bias", {channels / 2}, build)) {
  if (folded.defined()) {
    folded = kernels::fold_nearest2x(folded);
    if (!folded.is_cpu())
      folded = folded.flatten(0, 1).contiguous(at::MemoryFormat::ChannelsLast).unflatten(0, {4, -1});
  }
  if (!temporal) return;
  time_weight = take(at / "time_conv", "weight", {2 * channels, channels, 3, 1, 1}, build);
  time_bias = take(at / "time_conv", "bias", {2 * channels}, build);
  slot = build.slots++;
}

Tensor Upsample::operator()(Tensor x, FrameCache& cache) const {
  if (slot >= 0) {
    Tensor& past = cache[slot];
    const int64_t frames = x.size(0), height = x.size(1), width = x.size(2), channels = x.size(3);
    if (!past.defined()) {
      // The first latent frame is neither doubled nor remembered: the second one sees zeros before it.
      past = at::zeros({kPast, height, width, channels}, x.options());
    } else {
      Tensor window = cache.window(slot, x.sizes(), x.options());
      window.narrow(0, kPast, frames).copy_(x);
      cache.keep(slot, window);
      // First half of the channels: even frames; second half: odd ones.
      x = kernels::conv3d(window, time_weight, time_bias).view({frames, height, width, 2, channels});
      x = x.permute({0, 3, 1, 2, 4}).reshape({2 * frames, height, width, channels});
    }
  }
  return kernels::conv2d_up(x, folded, bias);
}

Middle::Middle(const Scope& at, int64_t channels, Build& build)
    : block0(at / 0, channels, channels, build),
      attention1(at / 1, channels, build),
      block2(at / 2, channels, channels, build) {}

Tensor Middle::operator()(Tensor x, FrameCache& cache, const Observer& observe) const {
  x = block0(x, cache);
  if (observe) observe("middle0", x);
  x = attention1(x);
  if (observe) observe("middle1", x);
  x = block2(x, cache);
  if (observe) observe("middle2", x);
  return x;
}

}  // namespace wan::vae
