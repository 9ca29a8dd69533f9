// Norms over the channels of a token, with the residual before and the modulation after. Contracts: launch.h, norm.h.
// Memory-bound: per token of 5120 channels and bf16, norm alone moves 30 KB, residual and norm 60 KB.
#pragma once

#include "kernels/norm/launch.h"
#include "kernels/op/row.cuh"

namespace wan::kernels {

/// The segment that token `token` lies in.
WAN_DEVICE int segment_of(const SegmentEnds& segments, int token) {
  int segment = 0;
  WAN_UNROLL
  for (int i = 0; i + 1 < kMaxSegments; ++i) segment += i + 1 < segments.count && token >= segments.ends[i];
  return segment;
}

/// at += gate * y, or y alone; `gate` is the segment's row.
template <int kPack, typename T>
WAN_DEVICE void add_gated(float (&at)[kPack], const T* y, const float* gate) {
  float value[kPack], factor[kPack];
  simt::load_floats(y, value);
  WAN_UNROLL
  for (int i = 0; i < kPack; ++i) factor[i] = 1;
  if (gate) simt::load_floats(gate, factor);
  WAN_UNROLL
  for (int i = 0; i < kPack; ++i) at[i] = fmaf(factor[i], value[i], at[i]);
}

/// The row of this block's token: with kResidual gate * y is added to x first, and x written back. `take` gets each
/// pack's channel and values as soon as they are there.
template <typename T, typename Tile, bool kResidual, typename Take>
WAN_DEVICE Row<Tile> normed_row(const LayerNormArguments& a, Take take) {
  const int64_t begin = int64_t(blockIdx.x) * a.channels;
  const int64_t modulation = int64_t(segment_of(a.segments, int(blockIdx.x % unsigned(a.tokens)))) * a.channels;
  Row<Tile> row;
  row.load(a.x + begin, a.channels);
  if constexpr (kResidual) {
    WAN_UNROLL
    for (int step = 0; step < Tile::kSteps; ++step) {
      const int channel = row_channel<Tile>(threadIdx.x, step);
      if (channel >= a.channels) continue;
      add_gated(row.at[step], static_cast<const T*>(a.y) + begin + channel,
                a.gate ? a.gate + modulation + channel : nullptr);
    }
    row.store(a.x + begin, a.channels);
  }
  row.standardise(a.channels, a.eps);
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = row_channel<Tile>(threadIdx.x, step);
    if (channel >= a.channels) continue;
    float factor[Tile::kPack], offset[Tile::kPack];
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) {
      factor[i] = 1 - a.one;
      offset[i] = 0;
    }
    if (a.multiplier) simt::load_floats(a.multiplier + modulation + channel, factor);
    if (a.offset) simt::load_floats(a.offset + modulation + channel, offset);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) row.at[step][i] = fmaf(row.at[step][i], a.one + factor[i], offset[i]);
    take(channel, row.at[step]);
  }
  return row;
}

/// One block per token.
template <typename T, typename Tile, bool kResidual>
WAN_BOUNDED_KERNEL(kRowThreads, 1)
layer_norm_kernel(LayerNormArguments a) {
  T* out = static_cast<T*>(a.out) + int64_t(blockIdx.x) * a.channels;
  normed_row<T, Tile, kResidual>(
      a, [out](int channel, const float(&values)[Tile::kPack]) { simt::store_floats(out + channel, values); });
}

/// One block per token; what it moves it moves once.
template <typename T, typename Tile>
WAN_BOUNDED_KERNEL(kRowThreads, 1)
gated_residual_kernel(LayerNormArguments a) {
  const int64_t begin = int64_t(blockIdx.x) * a.channels;
  const int64_t modulation = int64_t(segment_of(a.segments, int(blockIdx.x % unsigned(a.tokens)))) * a.channels;
  for (int channel = row_channel<Tile>(threadIdx.x, 0); channel < a.channels; channel += kRowThreads * Tile::kPack) {
    float value[Tile::kPack];
    simt::load_floats(a.x + begin + channel, value);
    add_gated(value, static_cast<const T*>(a.y) + begin + channel, a.gate ? a.gate + modulation + channel : nullptr);
    simt::store_floats(a.x + begin + channel, value);
  }
}

/// One block per row.
template <typename T, typename Tile>
WAN_BOUNDED_KERNEL(kRowThreads, 1)
rms_norm_kernel(RmsNormArguments a) {
  const int64_t begin = int64_t(blockIdx.x) * a.channels;
  Row<Tile> row;
  row.load(static_cast<const T*>(a.x) + begin, a.channels);
  const float factor = simt::reciprocal_sqrt(row.sum_of_squares() / a.channels + a.eps);
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = row_channel<Tile>(threadIdx.x, step);
    if (channel >= a.channels) continue;
    float weight[Tile::kPack];
    simt::load_floats(a.weight + channel, weight);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack; ++i) row.at[step][i] *= factor * weight[i];
  }
  row.store(static_cast<T*>(a.out) + begin, a.channels);
}

template <typename Run>
cudaError_t run_layer_norm(const LayerNormArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    return with_row_tile(a.channels, [&](auto tile) {
      auto* kernel = a.y ? layer_norm_kernel<T, decltype(tile), true> : layer_norm_kernel<T, decltype(tile), false>;
      return run(dim3(unsigned(a.rows)), kRowThreads, 0, kernel, a);
    });
  });
}

template <typename Run>
cudaError_t run_gated_residual(const LayerNormArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    auto* kernel =
        a.channels % 4 ? gated_residual_kernel<T, simt::Tile<1, 1>> : gated_residual_kernel<T, simt::Tile<4, 1>>;
    return run(dim3(unsigned(a.rows)), kRowThreads, 0, kernel, a);
  });
}

template <typename Run>
cudaError_t run_rms_norm(const RmsNormArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    return with_row_tile(a.channels, [&](auto tile) {
      return run(dim3(unsigned(a.rows)), kRowThreads, 0, rms_norm_kernel<T, decltype(tile)>, a);
    });
  });
}

}  // namespace wan::kernels
