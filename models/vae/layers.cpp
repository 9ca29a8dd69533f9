#include "models/vae/layers.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "kernels/attention/attention.h"
#include "kernels/convolution/conv3d.h"
#include "kernels/norm/channel_norm.h"
#include "models/weights/scope.h"

namespace wan::vae {
namespace {

/// Where convolutions of a device read their weights: cuDNN would bring them there at every call.
Tensor channels_last(const Tensor& weight) {
  if (weight.dim() == 5) return weight.contiguous(at::MemoryFormat::ChannelsLast3d);
  return weight.dim() == 4 ? weight.contiguous(at::MemoryFormat::ChannelsLast) : weight;
}

/// A convolution's weight or bias, or a norm's. A mapped one is converted at use, a copy is kept in the VAE's dtype.
Weight take(const Scope& at, std::string_view leaf, at::IntArrayRef shape, const Build& build) {
  return at.take(leaf, shape, Role::Float32, {.dtype = build.dtype, .layout = channels_last});
}

/// gamma [C, 1, 1(, 1)] as [C].
Weight take_gamma(const Scope& at, int64_t channels, int64_t ones, const Build& build) {
  std::vector<int64_t> shape(1 + ones, 1);
  shape[0] = channels;
  return at.take("gamma", shape, Role::Float32, {.dtype = build.dtype, .prepare = [](const std::vector<Tensor>& parts) {
                                                   return parts[0].flatten();
                                                 }});
}

/// The weight [out, in, 1, 1(, 1)] of a convolution of single pixels, as a linear's [out, in].
Weight take_pixel_weight(const Scope& at, int64_t in, int64_t out, int64_t ones, const Build& build) {
  std::vector<int64_t> shape(2 + ones, 1);
  shape[0] = out, shape[1] = in;
  const auto as_matrix = [out, in](const std::vector<Tensor>& parts) { return parts[0].view({out, in}); };
  return at.take("weight", shape, Role::Float32, {.dtype = build.dtype, .prepare = as_matrix});
}

/// The weight [out, in, 3, 3] of a convolution behind a doubling of pixels, its taps summed: [4, out, in, 2, 2].
Weight take_folded(const Scope& at, int64_t in, int64_t out, const Build& build) {
  const auto fold = [](const std::vector<Tensor>& parts) { return kernels::fold_nearest2x(parts[0]); };
  const auto each_channels_last = [](const Tensor& folded) {
    return channels_last(folded.flatten(0, 1)).unflatten(0, {4, -1});
  };
  return at.take("weight", {out, in, 3, 3}, Role::Float32,
                 {.dtype = build.dtype, .prepare = fold, .layout = each_channels_last});
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

std::vector<Tensor> FrameCache::take(Slots slots) {
  std::vector<Tensor> held;
  for (int64_t slot = slots.first; slot < slots.end; ++slot) held.push_back(std::exchange(slots_.at(slot), {}));
  return held;
}

void FrameCache::put(Slots slots, std::vector<Tensor> held) {
  for (size_t i = 0; i < held.size(); ++i) slots_.at(slots.first + int64_t(i)) = std::move(held[i]);
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

Tensor CausalConv::operator()(Tensor x, const Tensor& gamma, FrameCache& cache, const Biases& biases) const {
  const int64_t frames = x.size(0);
  const bool starts_alone = !cache[slot].defined() && frames == 1;
  Tensor window = cache.window(slot, x.sizes(), x.options()), present = window.narrow(0, kPast, frames);
  if (gamma.defined())
    kernels::biased_channel_norm_silu(x, biases.before, gamma, /*activate=*/true, present, weight.context());
  else
    present.copy_(x);
  x.reset();
  cache.keep(slot, window);
  const Tensor own = biases.left_out ? Tensor() : bias.tensor();
  // The first frame sees zeros before it: two thirds of the products would be with zeros.
  return starts_alone ? kernels::conv3d(present, weight.tensor().narrow(2, kPast, 1), own, 1, weight.context())
                      : kernels::conv3d(window, weight.tensor(), own, 1, weight.context());
}

PixelLinear::PixelLinear(const Scope& at, int64_t in, int64_t out, int64_t ones, const Build& build)
    : weight(take_pixel_weight(at, in, out, ones, build)), bias(take(at, "bias", {out}, build)) {}

Tensor PixelLinear::operator()(const Tensor& x) const {
  return kernels::conv_pixels(x, weight.tensor(), bias.tensor(), weight.context());
}

NormedConv::NormedConv(const Scope& at, int64_t norm, int64_t conv, int64_t in, int64_t out, Build& build)
    : gamma(take_gamma(at / norm, in, 3, build)), conv(at / conv, in, out, build) {}

ResidualBlock::ResidualBlock(const Scope& at, int64_t in, int64_t out, Build& build)
    : first(at / "residual", 0, 2, in, out, build), second(at / "residual", 3, 6, out, out, build) {
  if (in != out) shortcut.emplace(at / "shortcut", in, out, 3, build);
}

Tensor ResidualBlock::branch(const Tensor& x, FrameCache& cache, bool bias_in_norm) const {
  if (!bias_in_norm) return second(first(x, cache), cache);
  return second(first(x, cache, {.left_out = true}), cache, {.before = first.conv.bias.tensor()});
}

Tensor ResidualBlock::operator()(const Tensor& x, FrameCache& cache) const {
  // ATen adds a convolution's bias in a pass of its own on a GPU.
  Tensor y = branch(x, cache, kernels::adds_bias(x, first.conv.weight.context()));
  return y.add_(shortcut ? (*shortcut)(x) : x);
}

FrameAttention::FrameAttention(const Scope& at, int64_t channels, const Build& build)
    : gamma(take_gamma(at / "norm", channels, 2, build)),
      to_qkv(at / "to_qkv", channels, 3 * channels, 2, build),
      proj(at / "proj", channels, channels, 2, build) {}

Tensor FrameAttention::operator()(const Tensor& x) const {
  const int64_t frames = x.size(0), pixels = x.size(1) * x.size(2), channels = x.size(3);
  Tensor normed = at::empty_like(x);
  kernels::channel_norm_silu(x, gamma.tensor(), /*activate=*/false, normed, gamma.context());
  const std::vector<Tensor> qkv = to_qkv(normed).view({frames, pixels, 1, 3 * channels}).chunk(3, -1);
  Tensor y = kernels::attention(qkv[0], qkv[1], qkv[2], 1 / std::sqrt(double(channels)), {}, gamma.context());
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
  Tensor y = kernels::conv2d_down(x, weight.tensor(), bias.tensor(), weight.context());
  if (slot < 0) return y;
  Tensor& last = cache[slot];
  const bool starts = !last.defined();
  const Tensor window = starts ? y : at::cat({last, y});
  remember(last, y.narrow(0, y.size(0) - 1, 1));
  // The first chunk passes as it is: nothing lies before it.
  return starts
             ? y
             : kernels::conv3d(window, time_weight.tensor(), time_bias.tensor(), /*time_stride=*/2, weight.context());
}

Upsample::Upsample(const Scope& at, int64_t channels, bool temporal, Build& build)
    : folded(take_folded(at / "resample" / 1, channels, channels / 2, build)),
      bias(take(at / "resample" / 1, "bias", {channels / 2}, build)) {
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
      x = kernels::conv3d(window, time_weight.tensor(), time_bias.tensor(), 1, time_weight.context())
              .view({frames, height, width, 2, channels});
      x = x.permute({0, 3, 1, 2, 4}).reshape({2 * frames, height, width, channels});
    }
  }
  return kernels::conv2d_up(x, folded.tensor(), bias.tensor(), folded.context());
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
