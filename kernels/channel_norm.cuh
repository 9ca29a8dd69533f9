// The VAE's norm over the channels of a pixel with SiLU behind it, in one pass over NDHWC and two over NCDHW.
// Memory-bound: two bytes in and two out per element at 16 bits.
#pragma once

#include "kernels/activation.cuh"
#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kPixelThreads = 256;
constexpr float kSmallestNorm = 1e-12f;

WAN_DEVICE float channel_factor(float sum_of_squares, int channels) {
  return sqrtf(float(channels)) / fmaxf(sqrtf(sum_of_squares), kSmallestNorm);
}

/// Channels last: one warp per pixel, its channels in registers.
template <typename T, typename Tile>
WAN_BOUNDED_KERNEL(kPixelThreads, 1)
channel_norm_last_kernel(ChannelNormArguments a) {
  const int64_t pixel = int64_t(blockIdx.x) * (kPixelThreads / simt::kWarp) + threadIdx.x / simt::kWarp;
  if (pixel >= a.images * a.pixels) return;  // a whole warp
  const int lane = threadIdx.x % simt::kWarp;
  const T* from = static_cast<const T*>(a.x) + pixel * a.channels;
  T* to = static_cast<T*>(a.out) + pixel * a.channels;
  float value[Tile::kSteps][Tile::kPack];
  float sum = 0;
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = (step * simt::kWarp + lane) * Tile::kPack;
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) value[step][i] = 0;
    if (channel < a.channels) simt::load_floats(from + channel, value[step]);
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

/// Channels first: a block takes 32 neighbouring pixels, each warp every eighth channel; the second reading finds the
/// values in the cache.
template <typename T>
WAN_BOUNDED_KERNEL(kPixelThreads, 1)
channel_norm_first_kernel(ChannelNormArguments a) {
  constexpr int kWarps = kPixelThreads / simt::kWarp;
  WAN_SHARED(float, sums, [kWarps][simt::kWarp]);
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x / simt::kWarp;
  const int64_t pixel = int64_t(blockIdx.x) * simt::kWarp + lane;
  const int64_t begin = int64_t(blockIdx.y) * a.channels * a.pixels + pixel;
  const bool inside = pixel < a.pixels;
  const T* from = static_cast<const T*>(a.x) + begin;
  T* to = static_cast<T*>(a.out) + begin;
  float sum = 0;
  for (int channel = warp; inside && channel < a.channels; channel += kWarps) {
    const float value = simt::to_float(from[channel * a.pixels]);
    sum += value * value;
  }
  sums[warp][lane] = sum;
  simt::sync_block();
  sum = 0;
  WAN_UNROLL
  for (int i = 0; i < kWarps; ++i) sum += sums[i][lane];
  const float factor = channel_factor(sum, a.channels);
  for (int channel = warp; inside && channel < a.channels; channel += kWarps) {
    const float y = simt::to_float(from[channel * a.pixels]) * factor * a.gamma[channel];
    to[channel * a.pixels] = simt::from_float<T>(a.activate ? silu(y) : y);
  }
}

/// Widest pixel that a warp holds in its registers; the networks have 96, 192, 384.
constexpr int kMaxPixelChannels = 1024;

/// choose(Tile) for the fewest registers that hold `channels` in one warp.
template <typename Choose>
auto with_pixel_tile(int channels, Choose choose) {
  if (channels % 4) return choose(simt::Tile<1, 32>{});
  if (channels <= 128) return choose(simt::Tile<4, 1>{});
  if (channels <= 256) return choose(simt::Tile<4, 2>{});
  if (channels <= 384) return choose(simt::Tile<4, 3>{});
  return choose(simt::Tile<4, 8>{});
}

template <typename Run>
cudaError_t run_channel_norm(const ChannelNormArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    if (!a.channels_last) {
      const dim3 grid(unsigned((a.pixels + simt::kWarp - 1) / simt::kWarp), unsigned(a.images));
      return run(grid, kPixelThreads, 0, channel_norm_first_kernel<T>, a);
    }
    constexpr int kPixels = kPixelThreads / simt::kWarp;
    const dim3 grid(unsigned((a.images * a.pixels + kPixels - 1) / kPixels));
    return with_pixel_tile(a.channels, [&](auto tile) {
      return run(grid, kPixelThreads, 0, channel_norm_last_kernel<T, decltype(tile)>, a);
    });
  });
}

}  // namespace wan::kernels
