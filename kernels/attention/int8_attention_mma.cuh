// Attention with 8-bit queries and keys and 16-bit values for sm_80 and newer: keys in 8 bits for the loop of
// attention_loop.cuh, with the logits as exact integers. The idea of SageAttention (Zhang et al. 2024); the maximum is taken on the integers.
#pragma once

#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/launch.h"

namespace wan::kernels::int8_attention_mma {

using attention_mma::Head;
using attention_mma::kKeys;
using attention_mma::kKeyTiles;
using attention_mma::kThreads;
using attention_mma::kWidth;
using attention_mma::kWidthTiles;
using attention_mma::SkipByWarp;
using attention_mma::Softmax;

constexpr int kChunks = kWidth / 16;  // 16-byte chunks in a row of codes
constexpr int kDepthSteps = kWidth / 32;
static_assert(kInt8KeyBlock % kKeys == 0, "the keys of a step share a scale");

/// The sums begin at the bits of 1.5 * 2^23, so that the bits of each are the float 1.5 * 2^23 + sum: there is nothing
/// to convert, and integers and floats are in the same order. Holds while |sum| < 2^22; 128 * 127^2 is half of that.
constexpr int32_t kBiasBits = 0x4b400000;
constexpr float kBias = 12582912.0f;
constexpr int32_t kMinusInfinityBits = int32_t(0xff800000);
static_assert(kWidth * 127 * 127 < (1 << 22), "no carry into the exponent");

/// Copies 64 keys of one head, whose codes lie together; keys past `count` become zeros.
WAN_DEVICE void copy_keys(unsigned char* tile, const int8_t* head, int first, int count) {
  WAN_UNROLL
  for (int i = 0; i < kKeys * kChunks / kThreads; ++i) {
    const int index = i * kThreads + threadIdx.x, row = index / kChunks, chunk = index % kChunks;
    const bool inside = first + row < count;
    const int8_t* from = head + (inside ? int64_t(first + row) * kWidth + chunk * 16 : 0);
    simt::copy_async_16(tile + fragments::swizzled<kChunks>(row, chunk), from, inside);
  }
}

/// The scales of the thread's two rows of the 16 from query `first` of the head on.
WAN_DEVICE void load_scales(float (&scale)[2], const Int8AttentionArguments& a, int64_t head, int first, int lane) {
  WAN_UNROLL
  for (int row = 0; row < 2; ++row) {
    const int query = first + fragments::c_16x8(lane, 2 * row).row;
    scale[row] = query < a.queries ? a.q_scale[head * a.queries + query] : 1.0f;
  }
}

/// The warp's 16 queries from query `first` of the head on as left operands; queries past the end are zeros.
WAN_DEVICE void load_queries(uint32_t (&queries)[kDepthSteps][4], const Int8AttentionArguments& a, int64_t head,
                             int first, int lane) {
  const int8_t* codes = a.q + head * a.queries * kWidth;
  WAN_UNROLL
  for (int step = 0; step < kDepthSteps; ++step) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const fragments::Place place = fragments::a_16x32(lane, 4 * i);
      const int query = first + place.row;
      const int8_t* from = codes + int64_t(query) * kWidth + 32 * step + place.column;
      queries[step][i] = query < a.queries ? *reinterpret_cast<const uint32_t*>(from) : 0;
    }
  }
}

/// kBiasBits + Q K^T for the warp's 16 queries and the tile's 64 keys.
WAN_DEVICE void multiply_keys(int32_t (&sums)[kKeyTiles][4], const uint32_t (&queries)[kDepthSteps][4],
                              const unsigned char* keys, int lane) {
  const fragments::Place place = fragments::ldmatrix_columns_first(lane);
  WAN_UNROLL
  for (int tile = 0; tile < kKeyTiles; ++tile) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) sums[tile][i] = kBiasBits;
  }
  WAN_UNROLL
  for (int step = 0; step < kDepthSteps; ++step) {
    WAN_UNROLL
    for (int pair = 0; pair < kKeyTiles / 2; ++pair) {
      uint32_t b[4];
      simt::ldmatrix_x4(b, keys + fragments::swizzled<kChunks>(16 * pair + place.row, 2 * step + place.column / 8));
      simt::mma_16x8x32_s8(sums[2 * pair], queries[step], {b[0], b[1]});
      simt::mma_16x8x32_s8(sums[2 * pair + 1], queries[step], {b[2], b[3]});
    }
  }
}

/// Keys past the end get -inf.
template <int kTiles>
WAN_DEVICE void mask_keys(int32_t (&sums)[kTiles][4], int first, int keys, int lane) {
  WAN_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (first + 8 * tile + fragments::c_16x8(lane, i).column >= keys) sums[tile][i] = kMinusInfinityBits;
    }
  }
}

/// The largest of a row's sums less their bias, in each of its four lanes. At least one key of the tile is open.
template <int kTiles>
WAN_DEVICE float largest_sum(const int32_t (&sums)[kTiles][4], int row) {
  int32_t most = kMinusInfinityBits;
  WAN_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    WAN_UNROLL
    for (int i = 2 * row; i < 2 * row + 2; ++i) most = sums[tile][i] > most ? sums[tile][i] : most;
  }
  WAN_UNROLL
  for (int mask = 1; mask < 4; mask *= 2) {
    const int32_t other = simt::shuffle_xor(most, mask);
    most = other > most ? other : most;
  }
  return float(most - kBiasBits);
}

/// Whether `skip` leaves the tile out. Where it is on, `of_tile` is the largest logit of each row afterwards.
template <typename Skip, int kTiles>
WAN_DEVICE bool leaves_out([[maybe_unused]] float (&of_tile)[2], [[maybe_unused]] const int32_t (&sums)[kTiles][4],
                           [[maybe_unused]] const Softmax& softmax, [[maybe_unused]] const float (&factors)[2],
                           [[maybe_unused]] const Skip& skip) {
  if constexpr (Skip::kOn) {
    WAN_UNROLL
    for (int row = 0; row < 2; ++row) of_tile[row] = largest_sum(sums, row) * factors[row];
    return skip.leaves_out(of_tile, softmax);
  } else {
    return false;
  }
}

/// weights = 2^(sum * factor - largest + peak); `rescale` brings what was summed under the old maximum to the new one.
/// The bias is taken off inside the exponent's multiply-add: its rounding shifts a row of a tile by at most factor / 2,
/// less than one step of the codes. At least one key of the tile is open. `of_tile` as leaves_out has left it.
template <typename Skip, int kTiles>
WAN_DEVICE void exponentiate(float (&weights)[kTiles][4], float (&rescale)[2], Softmax& softmax,
                             const int32_t (&sums)[kTiles][4], const float (&factors)[2], float peak,
                             float (&of_tile)[2]) {
  WAN_UNROLL
  for (int row = 0; row < 2; ++row) {
    const float factor = factors[row];
    if constexpr (!Skip::kOn) of_tile[row] = largest_sum(sums, row) * factor;
    const float largest = fmaxf(softmax.largest[row], of_tile[row]);
    const float shift = fmaf(kBias, factor, largest - peak);
    rescale[row] = simt::exp2_fast(softmax.largest[row] - largest);
    softmax.largest[row] = largest;
    softmax.sum[row] *= rescale[row];
    WAN_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      WAN_UNROLL
      for (int i = 2 * row; i < 2 * row + 2; ++i) {
        weights[tile][i] = simt::exp2_fast(fmaf(simt::float_of_bits(uint32_t(sums[tile][i])), factor, -shift));
        softmax.sum[row] += weights[tile][i];
      }
    }
  }
}

/// Blocks of keys that have a scale of their own.
WAN_HOST_DEVICE int key_blocks(int keys) {
  return (keys + kInt8KeyBlock - 1) / kInt8KeyBlock;
}

/// Queries and keys as codes. The weights are as large as these values want them: 2^Values::kPeak.
template <typename Values>
struct Keys8 {
  using Sizes = Int8AttentionArguments;
  static constexpr int kQueryBytes = 0, kKeyBytes = kKeys * kWidth;

  WAN_DEVICE Keys8(const Sizes& a, const Head& head)
      : k(a.k + head.of_batch * a.keys * kWidth),
        key_scale(a.k_scale + head.of_batch * key_blocks(a.keys)),
        keys(a.keys) {}

  WAN_DEVICE void copy_queries(unsigned char*, const Sizes&, const Head&) const {}
  WAN_DEVICE void take_queries(const unsigned char*, const Sizes& a, const Head& head, int lane) {
    load_queries(queries, a, head.of_batch, head.warp_query, lane);
    load_scales(query_scale, a, head.of_batch, head.warp_query, lane);
  }
  WAN_DEVICE void copy(unsigned char* to, int tile) const { copy_keys(to, k, tile * kKeys, keys); }
  template <typename Skip>
  WAN_DEVICE bool weigh(float (&weights)[kKeyTiles][4], float (&rescale)[2], Softmax& softmax,
                        const unsigned char* stage, int tile, int lane, const Skip& skip) const {
    const float scale = key_scale[tile * kKeys / kInt8KeyBlock];
    int32_t sums[kKeyTiles][4];
    multiply_keys(sums, queries, stage, lane);
    if ((tile + 1) * kKeys > keys) mask_keys(sums, tile * kKeys, keys, lane);
    const float factors[2] = {query_scale[0] * scale, query_scale[1] * scale};
    float of_tile[2];
    if (leaves_out(of_tile, sums, softmax, factors, skip)) return false;
    exponentiate<Skip>(weights, rescale, softmax, sums, factors, Values::kPeak, of_tile);
    return true;
  }

  const int8_t* k;
  const float* key_scale;
  int keys;
  uint32_t queries[kDepthSteps][4];
  float query_scale[2];
};

/// At least one key.
template <typename Run>
cudaError_t run_int8_attention(const Int8AttentionArguments& a, Element element, Run run) {
  auto with_type = [&](auto type) {
    using T = typename decltype(type)::type;
    using Values = attention_mma::Values16<T>;
    return a.skip.skipped ? attention_mma::run_kernel<T, Keys8<Values>, Values, SkipByWarp>(a, run)
                          : attention_mma::run_kernel<T, Keys8<Values>, Values>(a, run);
  };
  return element == Element::Half ? with_type(simt::Type<__half>{}) : with_type(simt::Type<simt::bf16>{});
}

}  // namespace wan::kernels::int8_attention_mma
