// RMS norm of q and k over all heads together, then the rotation of adjacent pairs: one read and one write of each row.
// Memory-bound: 20 KB per token of 5120 bf16 channels and tensor, and 512 bytes of angles shared by both.
#pragma once

#include "kernels/op/row.cuh"
#include "kernels/rope/launch.h"

namespace wan::kernels {

/// One block per token and tensor. A pack holds whole pairs, so heads are a multiple of its width.
template <typename T, typename Tile, bool kNorm>
WAN_BOUNDED_KERNEL(kRowThreads, 1)
norm_rope_kernel(RopeArguments a) {
  // Chosen, not indexed: an index would copy the arguments into local memory.
  const bool second = blockIdx.y == 1;
  const T* from = static_cast<const T*>(second ? a.x[1] : a.x[0]) +
                  int64_t(blockIdx.x) * (second ? a.row_stride[1] : a.row_stride[0]);
  T* to = static_cast<T*>(second ? a.out[1] : a.out[0]) + int64_t(blockIdx.x) * a.channels;
  const float* weights = second ? a.weight[1] : a.weight[0];
  const int64_t angles = int64_t(blockIdx.x % unsigned(a.tokens)) * (a.head_dim / 2);
  Row<Tile> row;
  row.load(from, a.channels);
  float factor = 1;
  if constexpr (kNorm) factor = simt::reciprocal_sqrt(row.sum_of_squares() / a.channels + a.eps);
  WAN_UNROLL
  for (int step = 0; step < Tile::kSteps; ++step) {
    const int channel = row_channel<Tile>(threadIdx.x, step);
    if (channel >= a.channels) continue;
    float(&value)[Tile::kPack] = row.at[step];
    if constexpr (kNorm) {
      float weight[Tile::kPack];
      simt::load_floats(weights + channel, weight);
      WAN_UNROLL
      for (int i = 0; i < Tile::kPack; ++i) value[i] *= factor * weight[i];
    }
    const int64_t column = angles + channel % a.head_dim / 2;
    float cosine[Tile::kPack / 2], sine[Tile::kPack / 2];
    simt::load_floats(a.cos + column, cosine);
    simt::load_floats(a.sin + column, sine);
    WAN_UNROLL
    for (int i = 0; i < Tile::kPack / 2; ++i) {
      const float even = value[2 * i], odd = value[2 * i + 1];
      value[2 * i] = even * cosine[i] - odd * sine[i];
      value[2 * i + 1] = even * sine[i] + odd * cosine[i];
    }
  }
  row.store(to, a.channels);
}

/// choose(Tile) with whole pairs in a pack.
template <typename Choose>
auto with_pair_tile(int channels, int head_dim, Choose choose) {
  if (head_dim % 4) return choose(simt::Tile<2, 32>{});
  return with_row_tile(channels, [&](auto tile) {
    if constexpr (decltype(tile)::kPack == 4)
      return choose(tile);
    else
      return cudaErrorInvalidValue;  // heads of a multiple of 4 make a width of a multiple of 4
  });
}

template <typename Run>
cudaError_t run_norm_rope(const RopeArguments& a, Element element, Run run) {
  return simt::with_element(element, [&](auto type) {
    using T = typename decltype(type)::type;
    return with_pair_tile(a.channels, a.head_dim, [&](auto tile) {
      auto* kernel =
          a.weight[0] ? norm_rope_kernel<T, decltype(tile), true> : norm_rope_kernel<T, decltype(tile), false>;
      return run(dim3(unsigned(a.rows), unsigned(a.count)), kRowThreads, 0, kernel, a);
    });
  });
}

}  // namespace wan::kernels
