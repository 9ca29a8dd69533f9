// 16-bit attention with mma.sync for sm_80 and newer: keys and values in 16 bits for the loop of attention_loop.cuh.
// 2 * 2 * 128 * queries * keys operations; one exponential per logit.
#pragma once

#include "kernels/attention/attention_loop.cuh"

namespace wan::kernels::attention_mma {

constexpr int kChunks = kWidth / 8;  // 16-byte chunks in a row of a tile
constexpr int kTileBytes = kKeys * kWidth * 2, kDepthSteps = kWidth / 16;
constexpr float kLog2E = 1.44269504f;

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

/// The largest of a row's logits, in each of its four lanes.
template <int kTiles>
WAN_DEVICE float largest_logit(const float (&logits)[kTiles][4], int row) {
  float largest = -INFINITY;
  WAN_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    largest = fmaxf(largest, fmaxf(logits[tile][2 * row], logits[tile][2 * row + 1]));
  }
  largest = fmaxf(largest, simt::shuffle_xor(largest, 1));
  return fmaxf(largest, simt::shuffle_xor(largest, 2));
}

/// Whether `skip` leaves the tile out. Where it is on, `of_tile` is the largest logit of each row afterwards.
template <typename Skip, int kTiles>
WAN_DEVICE bool leaves_out([[maybe_unused]] float (&of_tile)[2], [[maybe_unused]] const float (&logits)[kTiles][4],
                           [[maybe_unused]] const Softmax& softmax, [[maybe_unused]] float scale,
                           [[maybe_unused]] const Skip& skip) {
  if constexpr (Skip::kOn) {
    WAN_UNROLL
    for (int row = 0; row < 2; ++row) of_tile[row] = largest_logit(logits, row) * scale;
    return skip.leaves_out(of_tile, softmax);
  } else {
    return false;
  }
}

/// logits -> 2^(logit * scale - largest), in place; `rescale` brings what was summed under the old maximum to the new
/// one. `of_tile` as leaves_out has left it.
template <typename Skip, int kTiles>
WAN_DEVICE void exponentiate(float (&logits)[kTiles][4], float (&rescale)[2], Softmax& softmax, float scale,
                             float (&of_tile)[2]) {
  WAN_UNROLL
  for (int row = 0; row < 2; ++row) {
    if constexpr (!Skip::kOn) of_tile[row] = largest_logit(logits, row) * scale;
    const float largest = fmaxf(softmax.largest[row], of_tile[row]);
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

/// The data of this head.
template <typename T>
WAN_DEVICE const T* data_of(const AttentionArguments::Strided& x, const Head& head) {
  return static_cast<const T*>(x.data) + head.batch * x.batch + head.head * x.head;
}

/// Queries and keys in 16 bits, with a bias for each key or without. The queries pass through the shared memory.
template <typename T, bool kBias>
struct Keys16 {
  using Sizes = AttentionArguments;
  static constexpr int kQueryBytes = kQueries * kWidth * 2, kKeyBytes = kTileBytes;

  WAN_DEVICE Keys16(const Sizes& a, const Head& head)
      : k(data_of<T>(a.k, head)), token_stride(a.k.token), bias(a.bias), scale(a.scale * kLog2E), keys(a.keys) {}

  WAN_DEVICE void copy_queries(unsigned char* stage, const Sizes& a, const Head& head) const {
    copy_tile<kQueries>(stage, data_of<T>(a.q, head), a.q.token, head.block_query, a.queries);
    simt::copy_async_commit();
  }
  WAN_DEVICE void take_queries(const unsigned char* stage, const Sizes&, const Head& head, int lane) {
    simt::copy_async_wait<1>();
    simt::sync_block();
    const fragments::Place place = fragments::ldmatrix_rows_first(lane);
    WAN_UNROLL
    for (int step = 0; step < kDepthSteps; ++step)
      simt::ldmatrix_x4(queries[step], tile_row(stage, head.warp_query - head.block_query, 16 * step, place));
    simt::sync_block();  // the stage is free now
  }
  WAN_DEVICE void copy(unsigned char* to, int tile) const { copy_tile<kKeys>(to, k, token_stride, tile * kKeys, keys); }
  template <typename Skip>
  WAN_DEVICE bool weigh(float (&weights)[kKeyTiles][4], float (&rescale)[2], Softmax& softmax,
                        const unsigned char* stage, int tile, int lane, const Skip& skip) const {
    multiply_keys<T>(weights, queries, stage, lane);
    if (kBias || (tile + 1) * kKeys > keys) bias_and_mask<kBias>(weights, bias, scale, tile * kKeys, keys, lane);
    const float factor = kBias ? 1.0f : scale;
    float of_tile[2];
    if (leaves_out(of_tile, weights, softmax, factor, skip)) return false;
    exponentiate<Skip>(weights, rescale, softmax, factor, of_tile);
    return true;
  }

  const T* k;
  int64_t token_stride;
  const float* bias;
  float scale;
  int keys;
  uint32_t queries[kDepthSteps][4];
};

/// Values in 16 bits, and the output of one warp.
template <typename T>
struct Values16 {
  static constexpr int kValueBytes = kTileBytes;
  static constexpr float kPeak = 0;  // log2 of the largest weight

  template <typename Sizes>
  WAN_DEVICE Values16(const Sizes& a, const Head& head)
      : v(data_of<T>(a.v, head)), token_stride(a.v.token), keys(a.keys) {}

  WAN_DEVICE void copy(unsigned char* to, int tile) const { copy_tile<kKeys>(to, v, token_stride, tile * kKeys, keys); }
  WAN_DEVICE void add(const float (&weights)[kKeyTiles][4], const float (&rescale)[2], const unsigned char* values,
                      int lane) {
    rescale_rows(output, rescale);
    multiply_values<T>(output, weights, values, lane);
  }
  template <typename Sizes>
  WAN_DEVICE void finish(const Sizes&, const Head&, int) {}

  const T* v;
  int64_t token_stride;
  int keys;
  float output[kWidthTiles][4] = {};
};

/// At least one key; a bias, or tiles that are left out, not both.
template <typename Run>
cudaError_t run_attention(const AttentionArguments& a, Element element, Run run) {
  auto with_type = [&](auto type) {
    using T = typename decltype(type)::type;
    if (a.skip.skipped) return run_kernel<T, Keys16<T, false>, Values16<T>, SkipByWarp>(a, run);
    return a.bias ? run_kernel<T, Keys16<T, true>, Values16<T>>(a, run)
                  : run_kernel<T, Keys16<T, false>, Values16<T>>(a, run);
  };
  return element == Element::Half ? with_type(simt::Type<__half>{}) : with_type(simt::Type<simt::bf16>{});
}

}  // namespace wan::kernels::attention_mma
