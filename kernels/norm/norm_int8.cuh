// Norms that end in 8-bit rows: normed as in norm.cuh, rotated and quantised as in quantise.cuh, in the same registers.
// Memory-bound: per token of 5120 channels the norm alone moves 25 KB, residual and norm 55 KB.
#pragma once

#include "kernels/linear/quantise.cuh"
#include "kernels/norm/norm.cuh"

namespace wan::kernels {

/// A row in which each group of 256 channels lies in one warp: a pair of steps is a group, a step is one half of it.
template <int kPairs>
struct GroupTile : simt::Tile<4, 2 * kPairs> {};

/// row_channel of all GroupTiles: neighbours in one load, lanes side by side.
WAN_HOST_DEVICE int group_channel(int thread, int step) {
  constexpr int kWarps = kRowThreads / simt::kWarp, kHalf = hadamard::kOrder / 2;
  const int group = step / 2 * kWarps + thread / simt::kWarp;
  return group * hadamard::kOrder + step % 2 * kHalf + thread % simt::kWarp * (kHalf / simt::kWarp);
}

template <>
WAN_HOST_DEVICE int row_channel<GroupTile<1>>(int thread, int step) {
  return group_channel(thread, step);
}
template <>
WAN_HOST_DEVICE int row_channel<GroupTile<3>>(int thread, int step) {
  return group_channel(thread, step);
}
template <>
WAN_HOST_DEVICE int row_channel<GroupTile<8>>(int thread, int step) {
  return group_channel(thread, step);
}

/// choose(GroupTile) for the fewest registers that hold `channels`. 5120, the width of A14B, takes 24, of which half of
/// the warps use 16.
template <typename Choose>
auto with_group_tile(int channels, Choose choose) {
  constexpr int kPair = kRowThreads / simt::kWarp * hadamard::kOrder;
  if (channels <= kPair) return choose(GroupTile<1>{});
  if (channels <= 3 * kPair) return choose(GroupTile<3>{});
  static_assert(kMaxRowChannels <= 8 * kPair, "the widest row fits");
  return choose(GroupTile<8>{});
}

/// One block per token.
template <typename T, typename Tile, bool kResidual>
WAN_BOUNDED_KERNEL(kRowThreads, 1)
layer_norm_int8_kernel(LayerNormInt8Arguments a) {
  const int channels = a.norm.channels, order = hadamard::order(channels);
  const float normaliser = hadamard::normaliser(order);
  Row<Tile> row = normed_row<T, Tile, kResidual>(a.norm, [](int, const float(&)[Tile::kPack]) {});
  uint32_t own = 0;
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; step += 2) {
    // Groups past the row's end, which a whole warp has together, are rotated too and left out.
    hadamard::rotate_halves(row.at[step], row.at[step + 1], order);
    WAN_UNROLL
    for (int half = step; half < step + 2; ++half)
      if (row_channel<Tile>(threadIdx.x, half) < channels) own = largest_bits(row.at[half], own);
  }
  const float largest = normaliser * block_largest<kRowThreads>(simt::float_of_bits(own), kRowThreads);
  if (threadIdx.x == 0) a.scale[blockIdx.x] = scale_of(largest);
  int8_t* codes = a.codes + int64_t(blockIdx.x) * channels;
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = row_channel<Tile>(threadIdx.x, step);
    if (channel < channels) store_codes(codes + channel, row.at[step], normaliser * inverse_of(largest));
  }
}

template <typename Run>
cudaError_t run_layer_norm_int8(const LayerNormInt8Arguments& a, Element element, Run run) {
  return with_group_tile(a.norm.channels, [&](auto tile) {
    using Tile = decltype(tile);
    const auto start = [&](auto* kernel) { return run(dim3(unsigned(a.norm.rows)), kRowThreads, 0, kernel, a); };
    if (!a.norm.y) return start(layer_norm_int8_kernel<float, Tile, false>);
    return simt::with_element(
        element, [&](auto type) { return start(layer_norm_int8_kernel<typename decltype(type)::type, Tile, true>); });
  });
}

}  // namespace wan::kernels
