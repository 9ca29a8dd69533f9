// y = x w^T with 8-bit operands on Hopper. One warpgroup asks the copy engine for tiles of 128 bytes of depth, two
// multiply. Blocks stay and take one tile after another, so that the next tile is copied while this one is written.
#pragma once

#include "kernels/linear/int8_linear.cuh"
#include "kernels/simt/sm90.h"

namespace wan::kernels::int8_linear_sm90 {

namespace sm90 = simt::sm90;
using int8_linear::Epilogue;

constexpr int kDepth = 128, kConsumers = 2, kThreads = (1 + kConsumers) * sm90::kWarpgroup;
constexpr int kAlignment = 1024, kWarpgroupWarps = sm90::kWarpgroup / simt::kWarp;
// 128 * 24 + 256 * 240 registers of the 65,536.
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;

/// How the two consumers share the work.
/// Both on one tile of 128x256, 64 rows each: the fewest bytes for each product. Both write at the same time, and the
/// tensor cores wait meanwhile, but for what the faster one is ahead.
struct Together {
  static constexpr int kRows = 128, kColumns = 256, kStages = 4, kReaders = 2;  // kReaders: consumers of a stage
};
/// Each on tiles of its own of 128x128: one multiplies while the other writes ("ping-pong"). A third more bytes.
struct InTurns {
  static constexpr int kRows = 128, kColumns = 128, kStages = 6, kReaders = 1;
};

template <typename Plan>
struct Sizes {
  static constexpr int kRowBytes = Plan::kRows * kDepth, kStageBytes = kRowBytes + Plan::kColumns * kDepth;
  static constexpr int kBarrierBytes = (2 * Plan::kStages + kConsumers) * 8;
  static constexpr int kSharedBytes = Plan::kStages * kStageBytes + kBarrierBytes + kAlignment;
  static_assert(kSharedBytes <= 227 << 10, "one block has 227 KB");
};

struct Arguments {
  sm90::TensorMap x, weight;  // boxes of kRows and kColumns rows by kDepth bytes, in the 128-byte swizzle
  Int8LinearArguments linear;
};

template <typename Plan>
struct Shared {
  unsigned char* tiles;
  uint64_t *full, *empty, *turn;  // turn: of each consumer

  WAN_DEVICE explicit Shared(unsigned char* raw) {
    tiles = raw + (-sm90::address_of(raw) & (kAlignment - 1));
    full = reinterpret_cast<uint64_t*>(tiles + Plan::kStages * Sizes<Plan>::kStageBytes);
    empty = full + Plan::kStages;
    turn = empty + Plan::kStages;
  }
};

/// As many calls of advance().
template <int kStages>
WAN_DEVICE void skip(sm90::Ring<kStages>& ring, int steps) {
  const int ahead = ring.stage + steps;
  ring.stage = ahead % kStages;
  ring.parity ^= ahead / kStages & 1;
}

/// The steps of all of a block's tiles follow each other.
template <typename Plan>
WAN_DEVICE void copy_tiles(const Arguments& a, const Shared<Plan>& shared, int row_tiles, int column_tiles) {
  sm90::Ring<Plan::kStages> ring;
  for (int index = blockIdx.x; index < row_tiles * column_tiles; index += gridDim.x) {
    const fragments::Place tile = int8_linear::tile_of(index, row_tiles, column_tiles);
    for (int begin = 0; begin < a.linear.depth; begin += kDepth, ring.advance()) {
      sm90::barrier_wait(&shared.empty[ring.stage], ring.parity ^ 1);
      unsigned char* stage = shared.tiles + ring.stage * Sizes<Plan>::kStageBytes;
      uint64_t* full = &shared.full[ring.stage];
      sm90::barrier_expect(full, Sizes<Plan>::kStageBytes);
      sm90::copy_box(stage, &a.x, {begin, tile.row * Plan::kRows}, full);
      sm90::copy_box(stage + Sizes<Plan>::kRowBytes, &a.weight, {begin, tile.column * Plan::kColumns}, full);
    }
  }
}

/// What 64 rows of sums of this warpgroup become in memory.
template <typename T, Epilogue kEpilogue, int kTiles>
WAN_DEVICE void write_tile(const Int8LinearArguments& a, const int32_t (&sums)[kTiles][4], int first_row,
                           int first_column) {
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x % sm90::kWarpgroup / simt::kWarp;
  int8_linear::RowFactors factors[2];
  WAN_UNROLL
  for (int half = 0; half < 2; ++half) {
    factors[half] = int8_linear::load_row<kEpilogue>(a, first_row + 16 * warp + fragments::c_16x8(lane, 2 * half).row);
  }
  WAN_UNROLL
  for (int j = 0; j < kTiles; ++j) {
    const int column = first_column + 8 * j + fragments::c_16x8(lane, 0).column;
    const int8_linear::ColumnPair columns = int8_linear::load_columns(a, column);
    WAN_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + 16 * warp + fragments::c_16x8(lane, 2 * half).row;
      int8_linear::write_pair<T, kEpilogue>(a, row, column, factors[half], columns, sums[j][2 * half],
                                            sums[j][2 * half + 1]);
    }
  }
}

/// A warp's wait says nothing of the others' products, so each has one lane that arrives for it.
WAN_DEVICE bool arrives() {
  return threadIdx.x % simt::kWarp == 0;
}

template <typename T, Epilogue kEpilogue>
WAN_DEVICE void multiply_tiles(const Arguments& a, const Shared<Together>& shared, int row_tiles, int column_tiles) {
  using Own = Sizes<Together>;
  const int consumer = threadIdx.x / sm90::kWarpgroup - 1;
  sm90::Ring<Together::kStages> ring;
  for (int index = blockIdx.x; index < row_tiles * column_tiles; index += gridDim.x) {
    int32_t sums[Together::kColumns / 8][4] = {};
    int previous = -1;
    for (int begin = 0; begin < a.linear.depth; begin += kDepth, ring.advance()) {
      sm90::barrier_wait(&shared.full[ring.stage], ring.parity);
      const uint32_t stage = sm90::address_of(shared.tiles + ring.stage * Own::kStageBytes);
      sm90::products_fence();
      WAN_UNROLL
      for (int step = 0; step < kDepth / 32; ++step) {
        sm90::multiply_64x256x32_s8(sums, sm90::tile_descriptor(stage + consumer * 64 * kDepth + 32 * step),
                                    sm90::tile_descriptor(stage + Own::kRowBytes + 32 * step));
      }
      sm90::products_commit();
      sm90::products_wait<1>();  // the stage before has been read
      if (previous >= 0 && arrives()) sm90::barrier_arrive(&shared.empty[previous]);
      previous = ring.stage;
    }
    sm90::products_wait<0>();
    sm90::pin_registers(sums);
    if (arrives()) sm90::barrier_arrive(&shared.empty[previous]);
    const fragments::Place tile = int8_linear::tile_of(index, row_tiles, column_tiles);
    write_tile<T, kEpilogue>(a.linear, sums, tile.row * Together::kRows + consumer * 64,
                             tile.column * Together::kColumns);
  }
}

/// Every other tile of the block is this consumer's. It multiplies when the other one has begun its last products.
template <typename T, Epilogue kEpilogue>
WAN_DEVICE void multiply_tiles(const Arguments& a, const Shared<InTurns>& shared, int row_tiles, int column_tiles) {
  using Own = Sizes<InTurns>;
  const int consumer = threadIdx.x / sm90::kWarpgroup - 1;
  sm90::Ring<InTurns::kStages> ring;
  int number = 0, turn = consumer == 0 ? -1 : 0;  // the first of all waits for nobody
  for (int index = blockIdx.x; index < row_tiles * column_tiles; index += gridDim.x, ++number) {
    if (number % kConsumers != consumer) {
      skip(ring, a.linear.depth / kDepth);
      continue;
    }
    if (turn >= 0) sm90::barrier_wait(&shared.turn[consumer], turn & 1);
    ++turn;
    int32_t sums[2][InTurns::kColumns / 8][4] = {};  // of 64 rows each
    int previous = -1;
    for (int begin = 0; begin < a.linear.depth; begin += kDepth, ring.advance()) {
      sm90::barrier_wait(&shared.full[ring.stage], ring.parity);
      const uint32_t stage = sm90::address_of(shared.tiles + ring.stage * Own::kStageBytes);
      sm90::products_fence();
      WAN_UNROLL
      for (int step = 0; step < kDepth / 32; ++step) {
        WAN_UNROLL
        for (int half = 0; half < 2; ++half)
          sm90::multiply_64x128x32_s8(sums[half], sm90::tile_descriptor(stage + half * 64 * kDepth + 32 * step),
                                      sm90::tile_descriptor(stage + Own::kRowBytes + 32 * step));
      }
      sm90::products_commit();
      sm90::products_wait<1>();  // the stage before has been read
      if (previous >= 0 && arrives()) sm90::barrier_arrive(&shared.empty[previous]);
      previous = ring.stage;
    }
    if (arrives()) sm90::barrier_arrive(&shared.turn[1 - consumer]);
    sm90::products_wait<0>();
    sm90::pin_registers(sums[0]);
    sm90::pin_registers(sums[1]);
    if (arrives()) sm90::barrier_arrive(&shared.empty[previous]);
    const fragments::Place tile = int8_linear::tile_of(index, row_tiles, column_tiles);
    WAN_UNROLL
    for (int half = 0; half < 2; ++half)
      write_tile<T, kEpilogue>(a.linear, sums[half], tile.row * InTurns::kRows + half * 64,
                               tile.column * InTurns::kColumns);
  }
}

template <typename T, Epilogue kEpilogue, typename Plan>
WAN_BOUNDED_KERNEL(kThreads, 1)
int8_linear_sm90_kernel(const WAN_GRID_CONSTANT Arguments a) {
  WAN_DYNAMIC_SHARED(raw);
  const Shared<Plan> shared(raw);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Plan::kStages; ++stage) {
      sm90::barrier_init(&shared.full[stage], 1);
      sm90::barrier_init(&shared.empty[stage], Plan::kReaders * kWarpgroupWarps);
    }
    for (int consumer = 0; consumer < kConsumers; ++consumer)
      sm90::barrier_init(&shared.turn[consumer], kWarpgroupWarps);
    sm90::barrier_init_fence();
  }
  simt::sync_block();
  const int row_tiles = (a.linear.rows + Plan::kRows - 1) / Plan::kRows;
  const int column_tiles = (a.linear.channels + Plan::kColumns - 1) / Plan::kColumns;
  if (threadIdx.x < sm90::kWarpgroup) {
    sm90::keep_registers<kProducerRegisters>();
    if (threadIdx.x == 0) {
      sm90::prefetch_map(&a.x);
      sm90::prefetch_map(&a.weight);
      copy_tiles<Plan>(a, shared, row_tiles, column_tiles);
    }
  } else {
    sm90::take_registers<kConsumerRegisters>();
    multiply_tiles<T, kEpilogue>(a, shared, row_tiles, column_tiles);
  }
}

/// The view of codes [rows, depth] in boxes of box_rows by 128 bytes.
inline sm90::TensorView view_of(const int8_t* codes, int rows, int depth, int box_rows) {
  return {codes, 2, 1, {depth, rows}, {1, depth}, {kDepth, box_rows}, sm90::Swizzle::Bytes128};
}

/// `map` makes a tensor map of a view; `blocks` is how many run at one time.
template <typename Plan = Together, typename Map, typename Run>
cudaError_t run_int8_linear_sm90(const Int8LinearArguments& linear, Element element, int blocks, Map map, Run run) {
  Arguments a{};
  a.linear = linear;
  cudaError_t status = map(a.x, view_of(linear.x, linear.rows, linear.depth, Plan::kRows));
  if (status != cudaSuccess) return status;
  status = map(a.weight, view_of(linear.weight, linear.channels, linear.depth, Plan::kColumns));
  if (status != cudaSuccess) return status;
  const int tiles =
      (linear.rows + Plan::kRows - 1) / Plan::kRows * ((linear.channels + Plan::kColumns - 1) / Plan::kColumns);
  return int8_linear::with_epilogue(linear, element, [&](auto type, auto epilogue) {
    using T = typename decltype(type)::type;
    return run(dim3(unsigned(tiles < blocks ? tiles : blocks)), kThreads, Sizes<Plan>::kSharedBytes,
               int8_linear_sm90_kernel<T, decltype(epilogue)::value, Plan>, a);
  });
}

}  // namespace wan::kernels::int8_linear_sm90
