// Attention with 8-bit queries and keys, and weights and values in e4m3, for sm_89 and newer: values in e4m3 for the
// loop of attention_loop.cuh, with the keys of int8_attention_mma.cuh. The idea of SageAttention2 (Zhang et al. 2024).
#pragma once

#include "kernels/attention/int8_attention_mma.cuh"
#include "kernels/simt/fp8.h"

namespace wan::kernels::int8_fp8_attention {

using attention_mma::Head;
using int8_attention_mma::kKeys;
using int8_attention_mma::kKeyTiles;
using int8_attention_mma::kThreads;
using int8_attention_mma::kWidth;
using int8_attention_mma::kWidthTiles;

constexpr int kChunks = kKeys / 16;  // 16-byte chunks in a channel's keys of one tile
template <Sums kSums>
constexpr float kPeak = float8_range(kSums).peak;

/// Copies 64 keys of all channels, which lie together.
WAN_DEVICE void copy_values(unsigned char* tile, const uint8_t* codes) {
  WAN_UNROLL
  for (int i = 0; i < kWidth * kChunks / kThreads; ++i) {
    const int index = i * kThreads + threadIdx.x;
    simt::copy_async_16(tile + fragments::swizzled_pairs(index / kChunks, index % kChunks), codes + index * 16, true);
  }
}

/// Weights as left operands of m16n8k32, in the order of their accumulators (fragments::column_of_slot).
template <int kSteps, int kTiles>
WAN_DEVICE void pack_weights(uint32_t (&a)[kSteps][4], const float (&weights)[kTiles][4]) {
  static_assert(kTiles == 4 * kSteps, "32 keys a step");
  WAN_UNROLL
  for (int step = 0; step < kSteps; ++step) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float(&left)[4] = weights[4 * step + i / 2 * 2], (&right)[4] = weights[4 * step + i / 2 * 2 + 1];
      const int row = 2 * (i % 2);
      a[step][i] = simt::pack_e4m3({left[row], left[row + 1], right[row], right[row + 1]});
    }
  }
}

/// P V of 64 keys and eight channels, summed from 0 on.
template <Sums kSums>
WAN_DEVICE void multiply_tile(float (&products)[4], const uint32_t (&a)[kKeys / 32][4], const uint32_t (&b)[4]) {
  auto multiply = [&](auto& sums) {
    simt::mma_16x8x32_e4m3(sums, a[0], {b[0], b[1]});
    simt::mma_16x8x32_e4m3(sums, a[1], {b[2], b[3]});
  };
  if constexpr (kSums == Sums::Half) {
    uint32_t halves[2] = {};
    multiply(halves);
    simt::unpack_halves(products, halves);
  } else {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) products[i] = 0;
    multiply(products);
  }
}
static_assert(kKeys == 2 * 32, "two products for a tile");

/// O = O * rescale + P V. The tensor core keeps about 14 bits of a sum of 8-bit products (11 in half), so those of one
/// tile are summed apart and the long sum is an ordinary float32.
template <Sums kSums>
WAN_DEVICE void multiply_values(float (&output)[kWidthTiles][4], const float (&weights)[kKeyTiles][4],
                                const float (&rescale)[2], const unsigned char* values, int lane) {
  const fragments::Place place = fragments::ldmatrix_four_chunks(lane);
  uint32_t a[kKeys / 32][4];
  pack_weights(a, weights);
  WAN_UNROLL
  for (int tile = 0; tile < kWidthTiles; ++tile) {
    simt::sync_warp();  // holds the compiler back from summing many tiles at once, which spills on sm_90
    float products[4];
    uint32_t b[4];
    simt::ldmatrix_x4(b, values + fragments::swizzled_pairs(8 * tile + place.row, place.column / 16));
    multiply_tile<kSums>(products, a, b);
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) output[tile][i] = fmaf(output[tile][i], rescale[i / 2], products[i]);
  }
}

/// Multiplies each channel with its scale.
WAN_DEVICE void scale_channels(float (&output)[kWidthTiles][4], const float* scale, int lane) {
  WAN_UNROLL
  for (int tile = 0; tile < kWidthTiles; ++tile) {
    float pair[2];
    simt::load_floats(scale + 8 * tile + fragments::c_16x8(lane, 0).column, pair);
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) output[tile][i] *= pair[i % 2];
  }
}

/// Values in e4m3, and the output of one warp.
template <Sums kSums>
struct Values8 {
  static constexpr int kValueBytes = kKeys * kWidth;
  static constexpr float kPeak = int8_fp8_attention::kPeak<kSums>;

  WAN_DEVICE Values8(const Int8AttentionArguments& a, const Head& head)
      : v(a.v_codes + head.of_batch * int8_attention_mma::key_blocks(a.keys) * kInt8KeyBlock * kWidth) {}

  WAN_DEVICE void copy(unsigned char* to, int tile) const { copy_values(to, v + int64_t(tile) * kValueBytes); }
  WAN_DEVICE void add(const float (&weights)[kKeyTiles][4], const float (&rescale)[2], const unsigned char* values,
                      int lane) {
    multiply_values<kSums>(output, weights, rescale, values, lane);
  }
  WAN_DEVICE void finish(const Int8AttentionArguments& a, const Head& head, int lane) {
    scale_channels(output, a.v_scale + head.of_batch * kWidth, lane);
  }

  const uint8_t* v;
  float output[kWidthTiles][4] = {};
};

/// At least one key.
template <typename Run>
cudaError_t run_int8_fp8_attention(const Int8AttentionArguments& a, Element element, Sums sums, Run run) {
  auto with_type = [&](auto type) {
    using T = typename decltype(type)::type;
    auto with_values = [&](auto values) {
      using Own = typename decltype(values)::type;
      using Keys = int8_attention_mma::Keys8<Own>;
      return a.skip.skipped ? attention_mma::run_kernel<T, Keys, Own, attention_mma::SkipByWarp>(a, run)
                            : attention_mma::run_kernel<T, Keys, Own>(a, run);
    };
    return sums == Sums::Half ? with_values(simt::Type<Values8<Sums::Half>>{})
                              : with_values(simt::Type<Values8<Sums::Float>>{});
  };
  return element == Element::Half ? with_type(simt::Type<__half>{}) : with_type(simt::Type<simt::bf16>{});
}

}  // namespace wan::kernels::int8_fp8_attention
