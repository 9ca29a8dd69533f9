// Attention with 8-bit queries and keys and 16-bit values for sm_80 and newer: the loop of attention_mma.cuh, with the
// logits as exact integers. The idea of SageAttention (Zhang et al. 2024); the maximum is taken on the integers.
#pragma once

#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/launch.h"

namespace wan::kernels::int8_attention_mma {

using attention_mma::kKeys;
using attention_mma::kKeyTiles;
using attention_mma::kQueries;
using attention_mma::kThreads;
using attention_mma::kWidth;
using attention_mma::kWidthTiles;
using attention_mma::Softmax;

constexpr int kChunks = kWidth / 16;  // 16-byte chunks in a row of codes
constexpr int kKeyBytes = kKeys * kWidth, kValueBytes = 2 * kKeys * kWidth;
constexpr int kStageBytes = kKeyBytes + kValueBytes, kSharedBytes = 2 * kStageBytes;
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

/// A warp's 16 queries: left operands of the products, and the scales of the thread's two rows.
struct Queries {
  uint32_t codes[kDepthSteps][4];
  float scale[2];
};

/// The scales of the thread's two rows of the 16 from query `first` of the head on.
WAN_DEVICE void load_scales(float (&scale)[2], const Int8AttentionArguments& a, int64_t head, int first, int lane) {
  WAN_UNROLL
  for (int row = 0; row < 2; ++row) {
    const int query = first + fragments::c_16x8(lane, 2 * row).row;
    scale[row] = query < a.queries ? a.q_scale[head * a.queries + query] : 1.0f;
  }
}

/// From query `first` of the head on; queries past the end are zeros.
WAN_DEVICE void load_queries(Queries& queries, const Int8AttentionArguments& a, int64_t head, int first, int lane) {
  const int8_t* codes = a.q + head * a.queries * kWidth;
  WAN_UNROLL
  for (int step = 0; step < kDepthSteps; ++step) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const fragments::Place place = fragments::a_16x32(lane, 4 * i);
      const int query = first + place.row;
      const int8_t* from = codes + int64_t(query) * kWidth + 32 * step + place.column;
      queries.codes[step][i] = query < a.queries ? *reinterpret_cast<const uint32_t*>(from) : 0;
    }
  }
  load_scales(queries.scale, a, head, first, lane);
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

/// weights = 2^(sum * factor - largest + peak); `rescale` brings what was summed under the old maximum to the new one.
/// The bias is taken off inside the exponent's multiply-add: its rounding shifts a row of a tile by at most factor / 2,
/// less than one step of the codes. At least one key of the tile is open.
template <int kTiles>
WAN_DEVICE void exponentiate(float (&weights)[kTiles][4], float (&rescale)[2], Softmax& softmax,
                             const int32_t (&sums)[kTiles][4], const float (&factors)[2], float peak) {
  WAN_UNROLL
  for (int row = 0; row < 2; ++row) {
    int32_t most = kMinusInfinityBits;
    WAN_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      WAN_UNROLL
      for (int i = 2 * row; i < 2 * row + 2; ++i) most = sums[tile][i] > most ? sums[tile][i] : most;
    }
    WAN_UNROLL
    for (int mask = 1; mask < 4; mask *= 2) {  // the four lanes of a row
      const int32_t other = simt::shuffle_xor(most, mask);
      most = other > most ? other : most;
    }
    const float factor = factors[row];
    const float largest = fmaxf(softmax.largest[row], float(most - kBiasBits) * factor);
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

/// exponentiate for the 64 keys from `first` on, whose codes lie in the tile.
WAN_DEVICE void weigh_keys(float (&weights)[kKeyTiles][4], float (&rescale)[2], Softmax& softmax,
                           const Queries& queries, const unsigned char* tile, float key_scale, int first, int keys,
                           int lane, float peak) {
  int32_t sums[kKeyTiles][4];
  multiply_keys(sums, queries.codes, tile, lane);
  if (first + kKeys > keys) mask_keys(sums, first, keys, lane);
  exponentiate(weights, rescale, softmax, sums, {queries.scale[0] * key_scale, queries.scale[1] * key_scale}, peak);
}

/// Blocks of keys that have a scale of their own.
WAN_HOST_DEVICE int key_blocks(int keys) {
  return (keys + kInt8KeyBlock - 1) / kInt8KeyBlock;
}

/// Grid: query blocks fastest, then heads, then batch, as in attention_mma.cuh.
template <typename T>
WAN_BOUNDED_KERNEL(kThreads, 1)
int8_attention_kernel(Int8AttentionArguments a) {
  WAN_DYNAMIC_SHARED(shared);
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x / simt::kWarp;
  const int first_query = int(blockIdx.x) * kQueries + 16 * warp, head = blockIdx.y;
  const int64_t batch = blockIdx.z, head_of_batch = batch * a.heads + head;
  const int8_t* k = a.k + head_of_batch * a.keys * kWidth;
  const float* key_scale = a.k_scale + head_of_batch * key_blocks(a.keys);
  const T* v = static_cast<const T*>(a.v.data) + batch * a.v.batch + head * a.v.head;

  const int count = (a.keys + kKeys - 1) / kKeys;
  auto copy_keys_and_values = [&](int i) {
    unsigned char* stage = shared + i % 2 * kStageBytes;
    copy_keys(stage, k, i * kKeys, a.keys);
    attention_mma::copy_tile<kKeys>(stage + kKeyBytes, v, a.v.token, i * kKeys, a.keys);
  };
  copy_keys_and_values(0);
  simt::copy_async_commit();
  Queries queries;
  load_queries(queries, a, head_of_batch, first_query, lane);

  float output[kWidthTiles][4] = {};
  Softmax softmax = {{-INFINITY, -INFINITY}, {0, 0}};
  for (int i = 0; i < count; ++i) {
    if (i + 1 < count) copy_keys_and_values(i + 1);
    simt::copy_async_commit();
    simt::copy_async_wait<1>();
    simt::sync_block();
    const unsigned char* stage = shared + i % 2 * kStageBytes;
    float weights[kKeyTiles][4], rescale[2];
    weigh_keys(weights, rescale, softmax, queries, stage, key_scale[i * kKeys / kInt8KeyBlock], i * kKeys, a.keys, lane,
               0);
    attention_mma::rescale_rows(output, rescale);
    attention_mma::multiply_values<T>(output, weights, stage + kKeyBytes, lane);
    simt::sync_block();  // before the next copy overwrites this stage
  }

  const int64_t token_stride = int64_t(a.heads) * kWidth;
  T* out = static_cast<T*>(a.out) + batch * a.queries * token_stride + head * kWidth;
  attention_mma::write_rows(output, softmax, out, token_stride, first_query, a.queries, lane);
}

/// At least one key.
template <typename Run>
cudaError_t run_int8_attention(const Int8AttentionArguments& a, Element element, Run run) {
  const dim3 grid(unsigned((a.queries + kQueries - 1) / kQueries), unsigned(a.heads), unsigned(a.batch));
  auto* kernel = element == Element::Half ? int8_attention_kernel<__half> : int8_attention_kernel<simt::bf16>;
  return run(grid, kThreads, kSharedBytes, kernel, a);
}

}  // namespace wan::kernels::int8_attention_mma
