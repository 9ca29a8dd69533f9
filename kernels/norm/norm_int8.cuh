// Norms that end in 8-bit rows: normed as in norm.cuh, rotated and quantised as in quantise.cuh, in the same registers.
// Memory-bound: per token of 5120 channels the norm alone moves 25 KB, residual and norm 55 KB.
#pragma once

#include "kernels/linear/quantise.cuh"
#include "kernels/norm/norm.cuh"

namespace wan::kernels {

/// One block per token. A step of a warp is one slice of the rotation: 32 lanes of 4 neighbours.
template <typename T, typename Tile, bool kResidual>
WAN_BOUNDED_KERNEL(kRowThreads, 1)
layer_norm_int8_kernel(LayerNormInt8Arguments a) {
  static_assert(Tile::kPack * simt::kWarp == hadamard::kSlice, "a warp's step is a slice");
  const int channels = a.norm.channels;
  Row<Tile> row = normed_row<T, Tile, kResidual>(a.norm, [](int, const float(&)[Tile::kPack]) {});
  uint32_t own = 0;
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    // Slices past the row's end, which a whole warp has together, are rotated too and left out.
    rotate_slices(row.at[step]);
    if (row_channel<Tile>(threadIdx.x, step) < channels) own = largest_bits(row.at[step], own);
  }
  const float largest = block_largest<kRowThreads>(simt::float_of_bits(own), kRowThreads);
  if (threadIdx.x == 0) a.scale[blockIdx.x] = scale_of(largest);
  int8_t* codes = a.codes + int64_t(blockIdx.x) * channels;
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = row_channel<Tile>(threadIdx.x, step);
    if (channel < channels) store_codes(codes + channel, row.at[step], inverse_of(largest));
  }
}

template <typename Run>
cudaError_t run_layer_norm_int8(const LayerNormInt8Arguments& a, Element element, Run run) {
  return with_packed_row_tile(a.norm.channels, [&](auto tile) {
    using Tile = decltype(tile);
    const auto start = [&](auto* kernel) { return run(dim3(unsigned(a.norm.rows)), kRowThreads, 0, kernel, a); };
    if (!a.norm.y) return start(layer_norm_int8_kernel<float, Tile, false>);
    return simt::with_element(
        element, [&](auto type) { return start(layer_norm_int8_kernel<typename decltype(type)::type, Tile, true>); });
  });
}

}  // namespace wan::kernels
