// Attention with wgmma on Hopper, head width 128. One warpgroup asks the copy engine for tiles of 128 keys and values,
// two have 64 queries each; while one of them weighs keys, the tensor cores work for the other. What keys and values
// are is a parameter: 16 bits here, 8 bits in int8_attention_sm90.cuh. The order of the work is FlashAttention-3's
// (Shah et al. 2024).
#pragma once

#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/heads_sm90.cuh"
#include "kernels/attention/skip_rule_sm90.cuh"
#include "kernels/simt/sm90.h"

namespace wan::kernels::attention_sm90 {

constexpr int kThreads = (1 + kConsumers) * sm90::kWarpgroup;
constexpr int kAlignment = 1024, kMostSharedBytes = 227 << 10;
// 128 * 24 + 256 * 240 registers of the 65,536.
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;

/// Queries and keys in 16 bits. What a `Keys` is: the bytes of its tiles and how they are asked for, by the producer;
/// how a consumer begins a tile's products and makes weights of them.
template <typename T>
struct Keys16 {
  using Sizes = AttentionArguments;
  using Sum = float;
  static constexpr int kQueryBytes = 2 * kBoxBytes, kKeyBytes = 2 * kBoxBytes;

  WAN_DEVICE static void copy_queries(unsigned char* to, const Arguments<Sizes>& a, const Head& head, uint64_t* full) {
    copy_heads(to, a.maps.q, head, head.first_query, full);
  }
  WAN_DEVICE static void copy_keys(unsigned char* to, const Arguments<Sizes>& a, const Head& head, int tile,
                                   uint64_t* full) {
    copy_heads(to, a.maps.k, head, tile * kKeys, full);
  }
  /// Bytes from one warpgroup's queries to the next one's, in the shared memory.
  static constexpr int kQueryStep = 64 * 128;

  WAN_DEVICE Keys16(const Sizes& a, const Head&, int, int) : scale(a.scale * 1.44269504f), keys(a.keys) {}

  /// Begins sums = Q K^T; the shared addresses of 64 queries and 128 keys.
  WAN_DEVICE void begin(float (&sums)[kKeyTiles][4], uint32_t queries, uint32_t keys) const {
    sm90::products_fence();
    WAN_UNROLL
    for (int step = 0; step < kWidth / 16; ++step) {
      const int at = step / 4 * kBoxBytes + step % 4 * 32;
      const uint64_t a = sm90::tile_descriptor(queries + at), b = sm90::tile_descriptor(keys + at);
      if (step == 0)
        sm90::multiply_64x128x16<T, true>(sums, a, b);
      else
        sm90::multiply_64x128x16<T, false>(sums, a, b);
    }
    sm90::products_commit();
  }
  WAN_DEVICE void look_ahead(int) {}
  /// Whether `skip` leaves tile `tile` out, by its sums, which are there; keys past the end are closed in them.
  template <bool kTail, typename Skip>
  WAN_DEVICE bool leaves_out(float (&of_tile)[2], float (&sums)[kKeyTiles][4], const Softmax& softmax, int tile,
                             int lane, const Skip& skip) const {
    if (kTail && (tile + 1) * kKeys > keys)
      attention_mma::bias_and_mask<false>(sums, nullptr, scale, tile * kKeys, keys, lane);
    return attention_mma::leaves_out(of_tile, sums, softmax, scale, skip);
  }
  /// Weights of the tile, from sums and `of_tile` as leaves_out has left them.
  template <typename Skip>
  WAN_DEVICE void weigh(float (&weights)[kKeyTiles][4], float (&rescale)[2], Softmax& softmax,
                        const float (&sums)[kKeyTiles][4], float (&of_tile)[2]) const {
    WAN_UNROLL
    for (int i = 0; i < 4 * kKeyTiles; ++i) weights[i / 4][i % 4] = sums[i / 4][i % 4];
    attention_mma::exponentiate<Skip>(weights, rescale, softmax, scale, of_tile);
  }

  float scale;
  int keys;
};

/// Values in 16 bits, and the output of one warpgroup. What a `Values` is: the bytes of its tiles and how they are
/// asked for; how a consumer begins and ends adding a tile's products to its output.
template <typename T>
struct Values16 {
  static constexpr int kValueBytes = 2 * kBoxBytes;
  float output[kWidthTiles][4] = {};

  template <typename Sizes>
  WAN_DEVICE static void copy_values(unsigned char* to, const Arguments<Sizes>& a, const Head& head, int tile,
                                     uint64_t* full) {
    copy_heads(to, a.maps.v, head, tile * kKeys, full);
  }
  /// Begins O = O * rescale + P V.
  WAN_DEVICE void begin(const float (&weights)[kKeyTiles][4], const float (&rescale)[2], uint32_t values) {
    attention_mma::rescale_rows(output, rescale);
    uint32_t a[kKeys / 16][4];
    WAN_UNROLL
    for (int step = 0; step < kKeys / 16; ++step) attention_mma::pack_weights<T>(a[step], weights, step);
    sm90::products_fence();
    WAN_UNROLL
    for (int step = 0; step < kKeys / 16; ++step)
      sm90::multiply_64x128x16_turned<T>(output, a[step],
                                         sm90::turned_tile_descriptor(values + step * 16 * 128, kBoxBytes));
    sm90::products_commit();
  }
  /// When the products are there.
  WAN_DEVICE void end(const float (&)[2]) { sm90::pin_registers(output); }
  /// Behind the last tile.
  template <typename Sizes>
  WAN_DEVICE void finish(const Sizes&, const Head&, int) {}
};

template <typename Keys, typename Values>
struct Shared {
  static constexpr int kStageBytes = Keys::kKeyBytes + Values::kValueBytes;
  static constexpr int kFixedBytes = Keys::kQueryBytes + kAlignment + 256;  // and room for the barriers
  static constexpr int kFit = (kMostSharedBytes - kFixedBytes) / kStageBytes, kStages = kFit < 4 ? kFit : 4;
  static constexpr int kBytes = kFixedBytes + kStages * kStageBytes;
  static_assert(kStages >= 2, "a tile is copied while another is used");
  unsigned char *queries, *stages;
  uint64_t *full, *empty, *queries_full;

  WAN_DEVICE explicit Shared(unsigned char* raw) {
    queries = raw + (-sm90::address_of(raw) & (kAlignment - 1));
    stages = queries + Keys::kQueryBytes;
    full = reinterpret_cast<uint64_t*>(stages + kStages * kStageBytes);
    empty = full + kStages;
    queries_full = empty + kStages;
  }
  WAN_DEVICE unsigned char* keys(int stage) const { return stages + stage * kStageBytes; }
  WAN_DEVICE unsigned char* values(int stage) const { return keys(stage) + Keys::kKeyBytes; }
};

/// By one thread.
template <typename Keys, typename Values>
WAN_DEVICE void copy_tiles(const Arguments<typename Keys::Sizes>& a, const Shared<Keys, Values>& shared,
                           const Head& head, int tiles) {
  using Own = Shared<Keys, Values>;
  sm90::barrier_expect(shared.queries_full, Keys::kQueryBytes);
  Keys::copy_queries(shared.queries, a, head, shared.queries_full);
  sm90::Ring<Own::kStages> ring;
  for (int tile = 0; tile < tiles; ++tile, ring.advance()) {
    sm90::barrier_wait(&shared.empty[ring.stage], ring.parity ^ 1);
    uint64_t* full = &shared.full[ring.stage];
    sm90::barrier_expect(full, Own::kStageBytes);
    Keys::copy_keys(shared.keys(ring.stage), a, head, tile, full);
    Values::copy_values(shared.values(ring.stage), a, head, tile, full);
  }
}

/// By one warpgroup of consumers. The keys of the next tile are multiplied behind the values of this one, so that they
/// are there when its output has been brought up to date.
template <typename T, typename Keys, typename Values, typename Skip>
WAN_DEVICE void attend(const typename Keys::Sizes& sizes, const Shared<Keys, Values>& shared, const Head& head,
                       int tiles) {
  const int lane = threadIdx.x % simt::kWarp, consumer = threadIdx.x / sm90::kWarpgroup - 1;
  const int first_query = head.first_query + 64 * consumer + threadIdx.x % sm90::kWarpgroup / simt::kWarp * 16;
  const uint32_t queries = sm90::address_of(shared.queries) + consumer * Keys::kQueryStep;
  Keys keys(sizes, head, first_query, lane);
  Values values;
  typename Keys::Sum sums[kKeyTiles][4];
  Softmax softmax = {{-INFINITY, -INFINITY}, {0, 0}};
  const Skip skip(sizes.skip);
  skip.open(softmax, first_query, sizes.queries, lane);
  sm90::Ring<Shared<Keys, Values>::kStages> ring;
  sm90::barrier_wait(shared.queries_full, 0);
  sm90::barrier_wait(&shared.full[0], 0);
  keys.begin(sums, queries, sm90::address_of(shared.keys(0)));
  auto take_tile = [&](int tile, auto is_last) {
    constexpr bool kLast = decltype(is_last)::value;
    sm90::products_wait<0>();
    sm90::pin_registers(sums);
    const int stage = ring.stage;
    const auto go_on = [&] {
      if constexpr (!kLast) keys.look_ahead(tile + 1);
      ring.advance();
    };
    const auto begin_next = [&] {
      sm90::barrier_wait(&shared.full[ring.stage], ring.parity);
      keys.begin(sums, queries, sm90::address_of(shared.keys(ring.stage)));
    };
    float of_tile[2];
    if (keys.template leaves_out<kLast>(of_tile, sums, softmax, tile, lane, skip)) {  // the values are not looked at
      go_on();
      if constexpr (!kLast) begin_next();
      if (lane == 0) sm90::barrier_arrive(&shared.empty[stage]);
      return;
    }
    // Weights exist on this way alone: behind a point where both ways meet, they would hold registers on either.
    float weights[kKeyTiles][4], rescale[2];
    keys.template weigh<Skip>(weights, rescale, softmax, sums, of_tile);
    go_on();
    values.begin(weights, rescale, sm90::address_of(shared.values(stage)));
    if constexpr (!kLast) begin_next();
    sm90::products_wait<kLast ? 0 : 1>();  // the values have been read
    if (lane == 0) sm90::barrier_arrive(&shared.empty[stage]);
    values.end(rescale);
  };
  for (int tile = 0; tile + 1 < tiles; ++tile) take_tile(tile, std::false_type{});
  take_tile(tiles - 1, std::true_type{});

  skip.finish(sizes.skip, head.first_query + 64 * consumer, sizes.queries, threadIdx.x % sm90::kWarpgroup == 0);
  values.finish(sizes, head, lane);
  const int64_t token_stride = int64_t(sizes.heads) * kWidth;
  T* out = static_cast<T*>(sizes.out) + head.batch * sizes.queries * token_stride + head.head * kWidth;
  attention_mma::write_rows(values.output, softmax, out, token_stride, first_query, sizes.queries, lane);
}

/// Grid: query blocks fastest, then heads, then batch, as in attention_loop.cuh. At least one key.
template <typename T, typename Keys, typename Values, typename Skip>
WAN_BOUNDED_KERNEL(kThreads, 1)
attention_sm90_kernel(const WAN_GRID_CONSTANT Arguments<typename Keys::Sizes> a) {
  WAN_DYNAMIC_SHARED(raw);
  using Own = Shared<Keys, Values>;
  const Own shared(raw);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Own::kStages; ++stage) {
      sm90::barrier_init(&shared.full[stage], 1);
      sm90::barrier_init(&shared.empty[stage], kConsumers * sm90::kWarpgroup / simt::kWarp);
    }
    sm90::barrier_init(shared.queries_full, 1);
    sm90::barrier_init_fence();
  }
  simt::sync_block();
  const Head head(a.sizes.heads);
  const int tiles = (a.sizes.keys + kKeys - 1) / kKeys;
  if (threadIdx.x < sm90::kWarpgroup) {
    sm90::keep_registers<kProducerRegisters>();
    if (threadIdx.x == 0) {
      sm90::prefetch_map(&a.maps.q);
      sm90::prefetch_map(&a.maps.k);
      sm90::prefetch_map(&a.maps.v);
      copy_tiles(a, shared, head, tiles);
    }
  } else {
    sm90::take_registers<kConsumerRegisters>();
    attend<T, Keys, Values, Skip>(a.sizes, shared, head, tiles);
  }
}

/// The kernel of these keys and values over all queries.
template <typename T, typename Keys, typename Values, typename Skip = attention_mma::Dense, typename Run>
cudaError_t run_kernel(const Arguments<typename Keys::Sizes>& a, Run run) {
  const dim3 grid(unsigned((a.sizes.queries + kQueries - 1) / kQueries), unsigned(a.sizes.heads),
                  unsigned(a.sizes.batch));
  return run(grid, kThreads, Shared<Keys, Values>::kBytes, attention_sm90_kernel<T, Keys, Values, Skip>, a);
}

/// Without bias, which is not looked at. At least one key. `map` makes a tensor map of a view.
template <typename Map, typename Run>
cudaError_t run_attention_sm90(const AttentionArguments& sizes, Element element, Map map, Run run) {
  Arguments<AttentionArguments> a{};
  a.sizes = sizes;
  cudaError_t status = map(a.maps.q, view_of(sizes.q, sizes.batch, sizes.heads, sizes.queries));
  if (status == cudaSuccess) status = map(a.maps.k, view_of(sizes.k, sizes.batch, sizes.heads, sizes.keys));
  if (status == cudaSuccess) status = map(a.maps.v, view_of(sizes.v, sizes.batch, sizes.heads, sizes.keys));
  if (status != cudaSuccess) return status;
  auto with_type = [&](auto type) {
    using T = typename decltype(type)::type;
    return sizes.skip.skipped ? run_kernel<T, Keys16<T>, Values16<T>, SkipByWarpgroup>(a, run)
                              : run_kernel<T, Keys16<T>, Values16<T>>(a, run);
  };
  return element == Element::Half ? with_type(simt::Type<__half>{}) : with_type(simt::Type<simt::bf16>{});
}

}  // namespace wan::kernels::attention_sm90
