// 16-bit attention with mma.sync for sm_80 and newer: the online softmax of FlashAttention-2 (Dao 2023), head width
// 128. A block has 8 warps of 16 queries each, whose rows stay in registers; keys and values pass by in tiles of 64,
// the next tile being copied while this one is used. 2 * 2 * 128 * queries * keys operations; one exponential per
// logit.
#pragma once

#include "kernels/attention/launch.h"
#include "kernels/simt/dispatch.h"
#include "kernels/simt/mma.h"

namespace wan::kernels::attention_mma {

constexpr int kThreads = 256;
constexpr int kWidth = kAttentionHeadDim, kQueries = kAttentionQueryBlock, kKeys = kAttentionKeyBlock;
constexpr int kChunks = kWidth / 8;  // 16-byte chunks in a row of a tile
constexpr int kTileBytes = kKeys * kWidth * 2;
constexpr int kStageBytes = 2 * kTileBytes;  // keys, then values; a stage also holds the queries before the loop
constexpr int kSharedBytes = 2 * kStageBytes;
constexpr int kDepthSteps = kWidth / 16, kKeyTiles = kKeys / 8, kWidthTiles = kWidth / 8;
static_assert(kQueries * kWidth * 2 == kStageBytes, "the queries pass through one stage");
static_assert(kThreads / simt::kWarp * 16 == kQueries, "16 queries for each warp");

/// Copies rows [first, first + kRows) of one head into a swizzled tile; rows past `count` become zeros.
template <int kRows, typename T>
WAN_DEVICE void copy_tile(unsigned char* tile, const T* head, int64_t token_stride, int first, int count) {
  WAN_UNROLL
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int index = i * kThreads + threadIdx.x, row = index / kChunks, chunk = index % kChunks;
    const bool inside = first + row < count;
    const T* from = head + (inside ? int64_t(first + row) * token_stride + chunk * 8 : 0);
    simt::copy_async_16(tile + fragments::swizzled<kChunks>(row, chunk), from, inside);
  }
}

/// The address of this lane's row for ldmatrix: `place` inside the 16x16 tile that begins at (row, channel).
WAN_DEVICE const unsigned char* tile_row(const unsigned char* tile, int row, int channel, fragments::Place place) {
  return tile + fragments::swizzled<kChunks>(row + place.row, (channel + place.column) / 8);
}

/// What a thread knows of its two rows, `lane / 4` and `lane / 4 + 8` of the warp's 16. Logits are in units of log2.
struct Softmax {
  float largest[2];  // of all keys so far
  float sum[2];      // of this thread's own keys so far
};

/// S = Q K^T for the warp's 16 queries and the tile's 64 keys.
template <typename T>
WAN_DEVICE void multiply_keys(float (&logits)[kKeyTiles][4], const uint32_t (&queries)[kDepthSteps][4],
                              const unsigned char* keys, int lane) {
  const fragments::Place place = fragments::ldmatrix_columns_first(lane);
  WAN_UNROLL
  for (int tile = 0; tile < kKeyTiles; ++tile) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) logits[tile][i] = 0;
  }
  WAN_UNROLL
  for (int step = 0; step < kDepthSteps; ++step) {
    WAN_UNROLL
    for (int pair = 0; pair < kKeyTiles / 2; ++pair) {
      uint32_t b[4];
      simt::ldmatrix_x4(b, tile_row(keys, 16 * pair, 16 * step, place));
      simt::mma_16x8x16<T>(logits[2 * pair], queries[step], {b[0], b[1]});
      simt::mma_16x8x16<T>(logits[2 * pair + 1], queries[step], {b[2], b[3]});
    }
  }
}

/// logits -> logits * scale + bias in units of log2; keys past the end get -inf. Only where there is a bias or a tail.
template <bool kBias, int kTiles>
WAN_DEVICE void bias_and_mask(float (&logits)[kTiles][4], const float* bias, float scale, int first, int keys,
                              int lane) {
  constexpr float kLog2E = 1.44269504f;
  WAN_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int key = first + 8 * tile + fragments::c_16x8(lane, i).column;
      if constexpr (kBias) logits[tile][i] = logits[tile][i] * scale + (key < keys ? bias[key] * kLog2E : 0.0f);
      if (key >= keys) logits[tile][i] = -INFINITY;
    }
  }
}

/// logits -> 2^(logit * scale - largest), in place; `rescale` brings what was summed under the old maximum to the new
/// one.
template <int kTiles>
WAN_DEVICE void exponentiate(float (&logits)[kTiles][4], float (&rescale)[2], Softmax& softmax, float scale) {
  WAN_UNROLL
  for (int row = 0; row < 2; ++row) {
    float largest = -INFINITY;
    WAN_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      largest = fmaxf(largest, fmaxf(logits[tile][2 * row], logits[tile][2 * row + 1]));
    }
    largest = fmaxf(largest, simt::shuffle_xor(largest, 1));  // the four lanes of a row
    largest = fmaxf(largest, simt::shuffle_xor(largest, 2));
    largest = fmaxf(softmax.largest[row], largest * scale);
    // A row that has met only -inf so far: any finite shift keeps its exponentials 0.
    const float shift = largest == -INFINITY ? 0.0f : largest;
    rescale[row] = simt::exp2_fast(softmax.largest[row] - shift);
    softmax.largest[row] = largest;
    softmax.sum[row] *= rescale[row];
    WAN_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      WAN_UNROLL
      for (int i = 2 * row; i < 2 * row + 2; ++i) {
        logits[tile][i] = simt::exp2_fast(fmaf(logits[tile][i], scale, -shift));
        softmax.sum[row] += logits[tile][i];
      }
    }
  }
}

WAN_DEVICE void rescale_rows(float (&output)[kWidthTiles][4], const float (&rescale)[2]) {
  WAN_UNROLL
  for (int tile = 0; tile < kWidthTiles; ++tile) {
    WAN_UNROLL
    for (int i = 0; i < 4; ++i) output[tile][i] *= rescale[i / 2];
  }
}

/// The left operand of 16 keys: the accumulators of two key tiles are its registers as they lie.
template <typename T, int kTiles>
WAN_DEVICE void pack_weights(uint32_t (&a)[4], const float (&weights)[kTiles][4], int step) {
  WAN_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float(&half)[4] = weights[2 * step + i / 2];
    a[i] = simt::pack_halves<T>(half[i % 2 * 2], half[i % 2 * 2 + 1]);
  }
}

/// O += P V.
template <typename T>
WAN_DEVICE void multiply_values(float (&output)[kWidthTiles][4], const float (&weights)[kKeyTiles][4],
                                const unsigned char* values, int lane) {
  const fragments::Place place = fragments::ldmatrix_rows_first(lane);
  WAN_UNROLL
  for (int step = 0; step < kKeys / 16; ++step) {
    uint32_t a[4];
    pack_weights<T>(a, weights, step);
    WAN_UNROLL
    for (int pair = 0; pair < kWidthTiles / 2; ++pair) {
      uint32_t b[4];
      simt::ldmatrix_x4_transposed(b, tile_row(values, 16 * step, 16 * pair, place));
      simt::mma_16x8x16<T>(output[2 * pair], a, {b[0], b[1]});
      simt::mma_16x8x16<T>(output[2 * pair + 1], a, {b[2], b[3]});
    }
  }
}

/// O / sum to memory, in pairs of channels. A row whose keys were all closed is 0.
template <typename T>
WAN_DEVICE void write_rows(const float (&output)[kWidthTiles][4], const Softmax& softmax, T* head, int64_t token_stride,
                           int first, int count, int lane) {
  WAN_UNROLL
  for (int row = 0; row < 2; ++row) {
    float sum = softmax.sum[row];
    sum += simt::shuffle_xor(sum, 1);
    sum += simt::shuffle_xor(sum, 2);
    const float factor = sum > 0 ? 1.0f / sum : 0.0f;
    const int query = first + fragments::c_16x8(lane, 2 * row).row;
    if (query >= count) continue;
    T* to = head + int64_t(query) * token_stride + fragments::c_16x8(lane, 0).column;
    WAN_UNROLL
    for (int tile = 0; tile < kWidthTiles; ++tile) {
      const float pair[2] = {output[tile][2 * row] * factor, output[tile][2 * row + 1] * factor};
      simt::store_floats(to + 8 * tile, pair);
    }
  }
}

/// Grid: query blocks fastest, then heads, then batch, so that the blocks in flight share the keys of few heads in L2.
template <typename T, bool kBias>
WAN_BOUNDED_KERNEL(kThreads, 1)
attention_kernel(AttentionArguments a) {
  WAN_DYNAMIC_SHARED(shared);
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x / simt::kWarp;
  const int first_query = int(blockIdx.x) * kQueries, head = blockIdx.y;
  const int64_t batch = blockIdx.z;
  const T* q = static_cast<const T*>(a.q.data) + batch * a.q.batch + head * a.q.head;
  const T* k = static_cast<const T*>(a.k.data) + batch * a.k.batch + head * a.k.head;
  const T* v = static_cast<const T*>(a.v.data) + batch * a.v.batch + head * a.v.head;

  const int64_t list = int64_t(head) * gridDim.x + blockIdx.x;
  const int* blocks = a.block_list ? a.block_list + list * a.list_stride : nullptr;
  const int count = blocks ? a.block_count[list] : (a.keys + kKeys - 1) / kKeys;
  auto key_block = [&](int i) { return blocks ? blocks[i] : i; };
  auto copy_keys_and_values = [&](int i) {
    unsigned char* stage = shared + i % 2 * kStageBytes;
    const int first = key_block(i) * kKeys;
    copy_tile<kKeys>(stage, k, a.k.token, first, a.keys);
    copy_tile<kKeys>(stage + kTileBytes, v, a.v.token, first, a.keys);
  };

  copy_tile<kQueries>(shared + kStageBytes, q, a.q.token, first_query, a.queries);
  simt::copy_async_commit();
  if (count > 0) copy_keys_and_values(0);
  simt::copy_async_commit();
  simt::copy_async_wait<1>();
  simt::sync_block();
  uint32_t queries[kDepthSteps][4];
  WAN_UNROLL
  for (int step = 0; step < kDepthSteps; ++step) {
    simt::ldmatrix_x4(queries[step],
                      tile_row(shared + kStageBytes, 16 * warp, 16 * step, fragments::ldmatrix_rows_first(lane)));
  }
  simt::sync_block();  // the second stage is free now

  constexpr float kLog2E = 1.44269504f;
  const float scale = a.scale * kLog2E;
  float output[kWidthTiles][4] = {};
  Softmax softmax = {{-INFINITY, -INFINITY}, {0, 0}};
  for (int i = 0; i < count; ++i) {
    if (i + 1 < count) copy_keys_and_values(i + 1);
    simt::copy_async_commit();
    simt::copy_async_wait<1>();
    simt::sync_block();
    const unsigned char* stage = shared + i % 2 * kStageBytes;
    const int first_key = key_block(i) * kKeys;
    float logits[kKeyTiles][4];
    multiply_keys<T>(logits, queries, stage, lane);
    if (kBias || first_key + kKeys > a.keys) bias_and_mask<kBias>(logits, a.bias, scale, first_key, a.keys, lane);
    float rescale[2];
    exponentiate(logits, rescale, softmax, kBias ? 1.0f : scale);
    rescale_rows(output, rescale);
    multiply_values<T>(output, logits, stage + kTileBytes, lane);
    simt::sync_block();  // before the next copy overwrites this stage
  }

  const int64_t token_stride = int64_t(a.heads) * kWidth;
  T* out = static_cast<T*>(a.out) + batch * a.queries * token_stride + head * kWidth;
  write_rows(output, softmax, out, token_stride, first_query + 16 * warp, a.queries, lane);
}

template <typename Run>
cudaError_t run_attention(const AttentionArguments& a, Element element, Run run) {
  const dim3 grid(unsigned((a.queries + kQueries - 1) / kQueries), unsigned(a.heads), unsigned(a.batch));
  auto with_type = [&](auto type) {
    using T = typename decltype(type)::type;
    auto* kernel = a.bias ? attention_kernel<T, true> : attention_kernel<T, false>;
    return run(grid, kThreads, kSharedBytes, kernel, a);
  };
  return element == Element::Half ? with_type(simt::Type<__half>{}) : with_type(simt::Type<simt::bf16>{});
}

}  // namespace wan::kernels::attention_mma
