// Attention with 8-bit queries and keys on Hopper, values in 16 bits ("8+16") or in e4m3 ("8+8"): the loop of
// attention_sm90.cuh around the codes and the softmax of int8_attention_mma.cuh.
#pragma once

#include "kernels/attention/attention_sm90.cuh"
#include "kernels/attention/int8_fp8_attention_sm89.cuh"

namespace wan::kernels::int8_attention_sm90 {

namespace sm90 = simt::sm90;
using attention_mma::Softmax;
using attention_sm90::Arguments;
using attention_sm90::Head;
using attention_sm90::kKeys;
using attention_sm90::kKeyTiles;
using attention_sm90::kQueries;
using attention_sm90::kWidth;
using attention_sm90::kWidthTiles;
using attention_sm90::SkipByWarpgroup;
static_assert(kKeys == kInt8KeyBlock, "the keys of a tile share a scale");

/// Queries and keys as codes: a row is 128 bytes. Rows past the end of a head are the next head's, or zeros: they are
/// masked, or not written. kFloat8: whether weights will be e4m3, with its range.
template <bool kFloat8>
struct Keys8 {
  using Sizes = Int8AttentionArguments;
  using Sum = int32_t;
  static constexpr int kQueryBytes = kQueries * kWidth, kKeyBytes = kKeys * kWidth, kQueryStep = 64 * kWidth;

  WAN_DEVICE static void copy_queries(unsigned char* to, const Arguments<Sizes>& a, const Head& head, uint64_t* full) {
    sm90::copy_box(to, &a.maps.q, {0, head.of_batch * a.sizes.queries + head.first_query}, full);
  }
  WAN_DEVICE static void copy_keys(unsigned char* to, const Arguments<Sizes>& a, const Head& head, int tile,
                                   uint64_t* full) {
    sm90::copy_box(to, &a.maps.k, {0, head.of_batch * a.sizes.keys + tile * kKeys}, full);
  }

  WAN_DEVICE Keys8(const Sizes& a, const Head& head, int first_query, int lane)
      : key_scale(a.k_scale + int64_t(head.of_batch) * int8_attention_mma::key_blocks(a.keys)), keys(a.keys) {
    int8_attention_mma::load_scales(query_scale, a, head.of_batch, first_query, lane);
    look_ahead(0);
  }

  /// Begins sums = kBiasBits + Q K^T.
  WAN_DEVICE void begin(int32_t (&sums)[kKeyTiles][4], uint32_t queries, uint32_t keys) const {
    WAN_UNROLL
    for (int i = 0; i < 4 * kKeyTiles; ++i) sums[i / 4][i % 4] = int8_attention_mma::kBiasBits;
    sm90::products_fence();
    WAN_UNROLL
    for (int step = 0; step < kWidth / 32; ++step)
      sm90::multiply_64x128x32_s8(sums, sm90::tile_descriptor(queries + 32 * step),
                                  sm90::tile_descriptor(keys + 32 * step));
    sm90::products_commit();
  }
  /// Asks for the scale of a tile long before it is needed.
  WAN_DEVICE void look_ahead(int tile) { scale = key_scale[tile]; }
  template <bool kTail, typename Skip>
  WAN_DEVICE bool leaves_out(float (&of_tile)[2], int32_t (&sums)[kKeyTiles][4], const Softmax& softmax, int tile,
                             int lane, const Skip& skip) const {
    if (kTail && (tile + 1) * kKeys > keys) int8_attention_mma::mask_keys(sums, tile * kKeys, keys, lane);
    return int8_attention_mma::leaves_out(of_tile, sums, softmax, {query_scale[0] * scale, query_scale[1] * scale},
                                          skip);
  }
  template <typename Skip>
  WAN_DEVICE void weigh(float (&weights)[kKeyTiles][4], float (&rescale)[2], Softmax& softmax,
                        const int32_t (&sums)[kKeyTiles][4], float (&of_tile)[2]) const {
    int8_attention_mma::exponentiate<Skip>(weights, rescale, softmax, sums,
                                           {query_scale[0] * scale, query_scale[1] * scale},
                                           kFloat8 ? int8_fp8_attention::kPeak<Sums::Float> : 0.0f, of_tile);
  }

  const float* key_scale;
  float query_scale[2], scale;
  int keys;
};

/// Values in e4m3, in two boxes of all channels of 64 keys. The tensor core keeps about 14 bits of a sum of 8-bit
/// products, so those of one tile are summed apart.
struct Values8 {
  static constexpr int kBoxBytes = kAttentionKeyBlock * kWidth, kValueBytes = 2 * kBoxBytes;
  static_assert(kKeys == 2 * kAttentionKeyBlock);
  float output[kWidthTiles][4] = {};
  float products[kWidthTiles][4];

  WAN_DEVICE static void copy_values(unsigned char* to, const Arguments<Int8AttentionArguments>& a, const Head& head,
                                     int tile, uint64_t* full) {
    const int first = head.of_batch * int8_attention_mma::key_blocks(a.sizes.keys) + tile;
    WAN_UNROLL
    for (int half = 0; half < 2; ++half)
      sm90::copy_box(to + half * kBoxBytes, &a.maps.v, {0, (2 * first + half) * kWidth}, full);
  }
  WAN_DEVICE void begin(const float (&weights)[kKeyTiles][4], const float (&)[2], uint32_t values) {
    uint32_t a[kKeys / 32][4];
    int8_fp8_attention::pack_weights(a, weights);
    sm90::products_fence();
    WAN_UNROLL
    for (int step = 0; step < kKeys / 32; ++step) {
      const uint64_t b = sm90::tile_descriptor(values + step / 2 * kBoxBytes + step % 2 * 32, sm90::Swizzle::Bytes64);
      if (step == 0)
        sm90::multiply_64x128x32_e4m3<true>(products, a[step], b);
      else
        sm90::multiply_64x128x32_e4m3<false>(products, a[step], b);
    }
    sm90::products_commit();
  }
  WAN_DEVICE void end(const float (&rescale)[2]) {
    sm90::pin_registers(products);
    WAN_UNROLL
    for (int i = 0; i < 4 * kWidthTiles; ++i)
      output[i / 4][i % 4] = fmaf(output[i / 4][i % 4], rescale[i % 4 / 2], products[i / 4][i % 4]);
  }
  WAN_DEVICE void finish(const Int8AttentionArguments& a, const Head& head, int lane) {
    int8_fp8_attention::scale_channels(output, a.v_scale + int64_t(head.of_batch) * kWidth, lane);
  }
};

/// Codes [heads of all batch elements, rows, 128] in boxes of 128 rows.
inline sm90::TensorView view_of(const int8_t* codes, int heads, int rows) {
  return {codes, 2, 1, {kWidth, int64_t(heads) * rows}, {1, kWidth}, {kWidth, kKeys}, sm90::Swizzle::Bytes128};
}

/// v_codes: a row of 64 keys for each channel of each tile.
inline sm90::TensorView view_of_values(const Int8AttentionArguments& a) {
  constexpr int kRow = kAttentionKeyBlock;
  const int64_t rows = int64_t(a.batch) * a.heads * int8_attention_mma::key_blocks(a.keys) * 2 * kWidth;
  return {a.v_codes, 2, 1, {kRow, rows}, {1, kRow}, {kRow, kWidth}, sm90::Swizzle::Bytes64};
}

/// At least one key; values from `v_codes` where they are given. `map` makes a tensor map of a view.
template <typename Map, typename Run>
cudaError_t run_int8_attention_sm90(const Int8AttentionArguments& sizes, Element element, Map map, Run run) {
  Arguments<Int8AttentionArguments> a{};
  a.sizes = sizes;
  const int heads = sizes.batch * sizes.heads;
  cudaError_t status = map(a.maps.q, view_of(sizes.q, heads, sizes.queries));
  if (status == cudaSuccess) status = map(a.maps.k, view_of(sizes.k, heads, sizes.keys));
  if (status == cudaSuccess)
    status = map(a.maps.v, sizes.v_codes ? view_of_values(sizes)
                                         : attention_sm90::view_of(sizes.v, sizes.batch, sizes.heads, sizes.keys));
  if (status != cudaSuccess) return status;
  auto with_type = [&](auto type) {
    using T = typename decltype(type)::type;
    auto with_skip = [&](auto skip) {
      using Skip = typename decltype(skip)::type;
      return sizes.v_codes ? attention_sm90::run_kernel<T, Keys8<true>, Values8, Skip>(a, run)
                           : attention_sm90::run_kernel<T, Keys8<false>, attention_sm90::Values16<T>, Skip>(a, run);
    };
    return sizes.skip.skipped ? with_skip(simt::Type<SkipByWarpgroup>{})
                              : with_skip(simt::Type<attention_mma::Dense>{});
  };
  return element == Element::Half ? with_type(simt::Type<__half>{}) : with_type(simt::Type<simt::bf16>{});
}

}  // namespace wan::kernels::int8_attention_sm90
