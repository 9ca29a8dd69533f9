// The loop that the attentions with mma.sync share: online softmax as in FlashAttention-2 (Dao 2023), head width 128. A
// block has 8 warps of 16 queries each, whose rows stay in registers; keys and values come in tiles of 64, and the next
// tile is copied while this one is used. What keys and values are is a parameter: attention_mma.cuh has both in 16
// bits, int8_attention_mma.cuh keys in 8 bits, int8_fp8_attention_sm89.cuh values in e4m3.
#pragma once

#include "kernels/attention/launch.h"
#include "kernels/attention/skip_rule.cuh"
#include "kernels/simt/dispatch.h"
#include "kernels/simt/mma.h"

namespace wan::kernels::attention_mma {

constexpr int kThreads = 256;
constexpr int kWidth = kAttentionHeadDim, kQueries = kAttentionQueryBlock, kKeys = kAttentionKeyBlock;
constexpr int kKeyTiles = kKeys / 8, kWidthTiles = kWidth / 8;
static_assert(kThreads / simt::kWarp * 16 == kQueries, "16 queries for each warp");

/// Which head of which batch element a block has, and where the block's queries and those of this warp begin.
struct Head {
  int head;
  int64_t batch, of_batch;
  int block_query, warp_query;

  WAN_DEVICE explicit Head(int heads)
      : head(int(blockIdx.y)),
        batch(blockIdx.z),
        of_batch(batch * heads + head),
        block_query(int(blockIdx.x) * kQueries),
        warp_query(block_query + int(threadIdx.x / simt::kWarp * 16)) {}
};

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

/// Two stages of shared memory, each with the keys and the values of a tile.
template <typename Keys, typename Values>
struct Stages {
  static constexpr int kStageBytes = Keys::kKeyBytes + Values::kValueBytes, kBytes = 2 * kStageBytes;
  static_assert(Keys::kQueryBytes <= kStageBytes, "queries pass through one stage");
  unsigned char* bytes;

  WAN_DEVICE unsigned char* keys(int tile) const { return bytes + tile % 2 * kStageBytes; }
  WAN_DEVICE unsigned char* values(int tile) const { return keys(tile) + Keys::kKeyBytes; }
};

/// What a `Keys` is (it holds the queries of one warp):
///   Sizes         the kernel's arguments
///   kQueryBytes   of the block's queries where they pass through the shared memory, kKeyBytes of a tile
///   copy_queries  begins to copy the block's queries to a stage that no tile uses yet
///   take_queries  reads the warp's queries into registers; the stage is free when it returns
///   copy          begins to copy a tile
///   weigh         makes weights of a tile's keys; rescale[row] brings sums under the old maximum to the new one; false
///                 where Skip leaves the tile out, and then nothing has changed
/// What a `Values` is (it holds the output of one warp):
///   kValueBytes   of a tile
///   copy          begins to copy a tile
///   add           output = output * rescale + weights * values
///   finish        behind the last tile
/// Grid: query blocks fastest, then heads, then batch, so that the blocks in flight share the keys of few heads in L2.
/// At least one key.
template <typename T, typename Keys, typename Values, typename Skip>
WAN_BOUNDED_KERNEL(kThreads, 1)
attention_mma_kernel(typename Keys::Sizes a) {
  WAN_DYNAMIC_SHARED(shared);
  const Stages<Keys, Values> stages{shared};
  const int lane = threadIdx.x % simt::kWarp;
  const Head head(a.heads);
  Keys keys(a, head);
  Values values(a, head);
  const int tiles = (a.keys + kKeys - 1) / kKeys;
  auto copy_keys_and_values = [&](int tile) {
    keys.copy(stages.keys(tile), tile);
    values.copy(stages.values(tile), tile);
  };

  keys.copy_queries(stages.keys(1), a, head);
  copy_keys_and_values(0);
  simt::copy_async_commit();
  keys.take_queries(stages.keys(1), a, head, lane);
  Softmax softmax = {{-INFINITY, -INFINITY}, {0, 0}};
  const Skip skip(a.skip);
  skip.open(softmax, head.warp_query, a.queries, lane);
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) copy_keys_and_values(tile + 1);
    simt::copy_async_commit();
    simt::copy_async_wait<1>();
    simt::sync_block();
    float weights[kKeyTiles][4], rescale[2];
    if (keys.weigh(weights, rescale, softmax, stages.keys(tile), tile, lane, skip))
      values.add(weights, rescale, stages.values(tile), lane);
    simt::sync_block();  // before the next copy overwrites this stage
  }

  skip.finish(a.skip, head.warp_query, a.queries, lane == 0);
  values.finish(a, head, lane);
  const int64_t token_stride = int64_t(a.heads) * kWidth;
  T* out = static_cast<T*>(a.out) + head.batch * a.queries * token_stride + head.head * kWidth;
  write_rows(values.output, softmax, out, token_stride, head.warp_query, a.queries, lane);
}

/// The kernel of these keys and values over all queries.
template <typename T, typename Keys, typename Values, typename Skip = Dense, typename Run>
cudaError_t run_kernel(const typename Keys::Sizes& a, Run run) {
  const dim3 grid(unsigned((a.queries + kQueries - 1) / kQueries), unsigned(a.heads), unsigned(a.batch));
  return run(grid, kThreads, Stages<Keys, Values>::kBytes, attention_mma_kernel<T, Keys, Values, Skip>, a);
}

}  // namespace wan::kernels::attention_mma
