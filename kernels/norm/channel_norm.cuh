// The VAE's norm over the channels of a pixel with SiLU behind it, in one pass. Contract: launch.h, channel_norm.h.
// Memory-bound: two bytes in and two out per element at 16 bits.
#pragma once

#include "kernels/norm/launch.h"
#include "kernels/op/activation.cuh"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kPixelThreads = 256;
constexpr float kSmallestNorm = 1e-12f;

WAN_DEVICE float channel_factor(float sum_of_squares, int channels) {
  return sqrtf(float(channels)) / fmaxf(sqrtf(sum_of_squares), kSmallestNorm);
}

template <int kPack>
WAN_DEVICE void add_bias(float (&value)[kPack], const float* bias) {
  float offset[kPack];
  simt::load_floats(bias, offset);
  WAN_UNROLL
  for (int i = 0; i < kPack; ++i) value[i] += offset[i];
}

/// One warp per pixel, its channels in registers, so `out` may be `x`.
template <typename In, typename Out, typename Tile>
WAN_BOUNDED_KERNEL(kPixelThreads, 1)
channel_norm_kernel(ChannelNormArguments a) {
  const int64_t pixel = int64_t(blockIdx.x) * (kPixelThreads / simt::kWarp) + threadIdx.x / simt::kWarp;
  if (pixel >= a.pixels) return;  // a whole warp
  const int lane = threadIdx.x % simt::kWarp;
  const In* from = static_cast<const In*>(a.x) + pixel * a.channels;
  Out* to = static_cast<Out*>(a.out) + pixel * a.channels;
  float value[Tile::kSteps][Tile::kPack];
  float sum = 0;
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = (step * simt::kWarp + lane) * Tile::kPack;
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) value[step][i] = 0;
    if (channel < a.channels) {
      simt::load_floats(from + channel, value[step]);
      if (a.bias) add_bias(value[step], a.bias + channel);
    }
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) sum += value[step][i] * value[step][i];
  }
  const float factor = channel_factor(simt::warp_sum(sum), a.channels);
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = (step * simt::kWarp + lane) * Tile::kPack;
    if (channel >= a.channels) continue;
    float gamma[Tile::kPack];
    simt::load_floats(a.gamma + channel, gamma);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) {
      const float y = value[step][i] * factor * gamma[i];
      value[step][i] = a.activate ? silu(y) : y;
    }
    simt::store_floats(to + channel, value[step]);
  }
}

/// choose(Tile) for the fewest registers that hold `channels` in one warp.
template <typename Choose>
auto with_pixel_tile(int channels, Choose choose) {
  if (channels % 4) return choose(simt::Tile<1, 32>{});
  if (channels <= 128) return choose(simt::Tile<4, 1>{});
  if (channels <= 256) return choose(simt::Tile<4, 2>{});
  if (channels <= 384) return choose(simt::Tile<4, 3>{});
  return choose(simt::Tile<4, 8>{});
}

/// choose(Type<In>, Type<Out>) for the pairs in use: the same type, or float32 narrowed for the convolution behind.
template <typename Choose>
cudaError_t with_elements(Element in, Element out, Choose choose) {
  if (in == out) return simt::with_element(in, [&](auto type) { return choose(type, type); });
  if (in != Element::Float) return cudaErrorInvalidValue;
  return simt::with_element(out, [&](auto type) { return choose(simt::Type<float>{}, type); });
}

template <typename Run>
cudaError_t run_channel_norm(const ChannelNormArguments& a, Element in, Element out, Run run) {
  constexpr int kPixels = kPixelThreads / simt::kWarp;
  const dim3 grid(unsigned((a.pixels + kPixels - 1) / kPixels));
  return with_elements(in, out, [&](auto from, auto to) {
    using In = typename decltype(from)::type;
    using Out = typename decltype(to)::type;
    return with_pixel_tile(a.channels, [&](auto tile) {
      return run(grid, kPixelThreads, 0, channel_norm_kernel<In, Out, decltype(tile)>, a);
    });
  });
}

}  // namespace wan::kernels
