// A row in the registers of one block of 256 threads: read once, whatever is computed over it.
#pragma once

#include "kernels/simt/dispatch.h"

namespace wan::kernels {

constexpr int kRowThreads = 256;

/// The first channel of the pack that `thread` holds at `step`: neighbours in one load, threads side by side.
template <typename Tile>
WAN_HOST_DEVICE int row_channel(int thread, int step) {
  return (step * kRowThreads + thread) * Tile::kPack;
}

/// choose(Tile) for the fewest registers that hold `channels`, a multiple of 4. 5120, the width of A14B, takes 20.
template <typename Choose>
auto with_packed_row_tile(int channels, Choose choose) {
  if (channels <= 1024) return choose(simt::Tile<4, 1>{});
  if (channels <= 2048) return choose(simt::Tile<4, 2>{});
  if (channels <= 5120) return choose(simt::Tile<4, 5>{});
  return choose(simt::Tile<4, 16>{});
}

/// The same for any width.
template <typename Choose>
auto with_row_tile(int channels, Choose choose) {
  return channels % 4 ? choose(simt::Tile<1, 64>{}) : with_packed_row_tile(channels, choose);
}

/// This thread's part of a row; zeros past its end, which leaves sums alone.
template <typename Tile>
struct Row {
  float at[Tile::kSteps][Tile::kPack];

  template <typename T>
  WAN_DEVICE void load(const T* row, int channels) {
    WAN_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      const int channel = row_channel<Tile>(threadIdx.x, step);
      WAN_UNROLL
      for (int i = 0; i < Tile::kPack; ++i) at[step][i] = 0;
      if (channel < channels) simt::load_floats(row + channel, at[step]);
    }
  }

  template <typename T>
  WAN_DEVICE void store(T* row, int channels) const {
    WAN_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      const int channel = row_channel<Tile>(threadIdx.x, step);
      if (channel < channels) simt::store_floats(row + channel, at[step]);
    }
  }

  WAN_DEVICE float sum_of_squares() const {
    float sum = 0;
    WAN_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      WAN_UNROLL
      for (int i = 0; i < Tile::kPack; ++i) sum += at[step][i] * at[step][i];
    }
    return simt::block_sum<kRowThreads>(sum);
  }

  /// x -> (x - mean) / sqrt(variance + eps). The sums of the second pass also give what float32 lost of the mean, so a
  /// row with an offset of 1e4 keeps its digits.
  WAN_DEVICE void standardise(int channels, float eps) {
    float sum = 0;
    WAN_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      WAN_UNROLL
      for (int i = 0; i < Tile::kPack; ++i) sum += at[step][i];
    }
    const float mean = simt::block_sum<kRowThreads>(sum) / channels;
    float rest = 0, squares = 0;
    WAN_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      if (row_channel<Tile>(threadIdx.x, step) >= channels) continue;
      WAN_UNROLL
      for (int i = 0; i < Tile::kPack; ++i) {
        at[step][i] -= mean;
        rest += at[step][i];
        squares += at[step][i] * at[step][i];
      }
    }
    rest = simt::block_sum<kRowThreads>(rest) / channels;
    const float variance = fmaxf(simt::block_sum<kRowThreads>(squares) / channels - rest * rest, 0.0f);
    const float factor = simt::reciprocal_sqrt(variance + eps);
    WAN_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      WAN_UNROLL
      for (int i = 0; i < Tile::kPack; ++i) at[step][i] = (at[step][i] - rest) * factor;
    }
  }
};

}  // namespace wan::kernels
