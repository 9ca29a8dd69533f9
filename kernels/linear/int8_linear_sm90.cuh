// y = x w^T with 8-bit operands on Hopper: tiles of 128x256, 128 bytes of depth a stage, four stages of 48 KB. One
// warpgroup asks the copy engine for tiles, two multiply 64 rows each. Blocks stay and take one tile after another, so
// that the next tile is copied while this one is written.
#pragma once

#include "kernels/linear/int8_linear.cuh"
#include "kernels/simt/sm90.h"

namespace wan::kernels::int8_linear_sm90 {

namespace sm90 = simt::sm90;

constexpr int kRows = 128, kColumns = 256, kDepth = 128, kStages = 4;
constexpr int kConsumers = 2, kThreads = (1 + kConsumers) * sm90::kWarpgroup;
constexpr int kRowBytes = kRows * kDepth, kStageBytes = kRowBytes + kColumns * kDepth;
constexpr int kBarrierBytes = 2 * kStages * 8, kAlignment = 1024;
constexpr int kSharedBytes = kStages * kStageBytes + kBarrierBytes + kAlignment;
// 128 * 24 + 256 * 240 registers of the 65,536.
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;
static_assert(kSharedBytes <= 227 << 10, "one block has 227 KB");

struct Arguments {
  sm90::TensorMap x, weight;  // boxes of kRows and kColumns rows by kDepth bytes, in the 128-byte swizzle
  Int8LinearArguments linear;
};

/// The steps of all of a block's tiles follow each other.
using Ring = sm90::Ring<kStages>;

struct Shared {
  unsigned char* tiles;
  uint64_t *full, *empty;

  WAN_DEVICE explicit Shared(unsigned char* raw) {
    tiles = raw + (-sm90::address_of(raw) & (kAlignment - 1));
    full = reinterpret_cast<uint64_t*>(tiles + kStages * kStageBytes);
    empty = full + kStages;
  }
};

WAN_DEVICE void copy_tiles(const Arguments& a, const Shared& shared, int row_tiles, int column_tiles) {
  Ring ring;
  for (int index = blockIdx.x; index < row_tiles * column_tiles; index += gridDim.x) {
    const fragments::Place tile = int8_linear::tile_of(index, row_tiles, column_tiles);
    for (int begin = 0; begin < a.linear.depth; begin += kDepth, ring.advance()) {
      sm90::barrier_wait(&shared.empty[ring.stage], ring.parity ^ 1);
      unsigned char* stage = shared.tiles + ring.stage * kStageBytes;
      uint64_t* full = &shared.full[ring.stage];
      sm90::barrier_expect(full, kStageBytes);
      sm90::copy_box(stage, &a.x, {begin, tile.row * kRows}, full);
      sm90::copy_box(stage + kRowBytes, &a.weight, {begin, tile.column * kColumns}, full);
    }
  }
}

/// What the 64x256 sums of this warpgroup become in memory.
template <typename T>
WAN_DEVICE void write_tile(const Int8LinearArguments& a, const int32_t (&sums)[kColumns / 8][4], int first_row,
                           int first_column) {
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x % sm90::kWarpgroup / simt::kWarp;
  int8_linear::RowFactors factors[2];
  WAN_UNROLL
  for (int half = 0; half < 2; ++half) {
    factors[half] = int8_linear::load_row(a, first_row + 16 * warp + fragments::c_16x8(lane, 2 * half).row);
  }
  WAN_UNROLL
  for (int j = 0; j < kColumns / 8; ++j) {
    const int column = first_column + 8 * j + fragments::c_16x8(lane, 0).column;
    const int8_linear::ColumnPair columns = int8_linear::load_columns(a, column);
    WAN_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + 16 * warp + fragments::c_16x8(lane, 2 * half).row;
      int8_linear::write_pair<T>(a, row, column, factors[half], columns, sums[j][2 * half], sums[j][2 * half + 1]);
    }
  }
}

template <typename T>
WAN_DEVICE void multiply_tiles(const Arguments& a, const Shared& shared, int row_tiles, int column_tiles) {
  const int consumer = threadIdx.x / sm90::kWarpgroup - 1;
  const bool arrives = threadIdx.x % simt::kWarp == 0;  // a warp's wait says nothing of the others' products
  Ring ring;
  for (int index = blockIdx.x; index < row_tiles * column_tiles; index += gridDim.x) {
    int32_t sums[kColumns / 8][4] = {};
    int previous = -1;
    for (int begin = 0; begin < a.linear.depth; begin += kDepth, ring.advance()) {
      sm90::barrier_wait(&shared.full[ring.stage], ring.parity);
      const uint32_t stage = sm90::address_of(shared.tiles + ring.stage * kStageBytes);
      sm90::products_fence();
      WAN_UNROLL
      for (int step = 0; step < kDepth / 32; ++step) {
        sm90::multiply_64x256x32_s8(sums, sm90::tile_descriptor(stage + consumer * 64 * kDepth + 32 * step),
                                    sm90::tile_descriptor(stage + kRowBytes + 32 * step));
      }
      sm90::products_commit();
      sm90::products_wait<1>();  // the stage before has been read
      if (previous >= 0 && arrives) sm90::barrier_arrive(&shared.empty[previous]);
      previous = ring.stage;
    }
    sm90::products_wait<0>();
    sm90::pin_registers(sums);
    if (arrives) sm90::barrier_arrive(&shared.empty[previous]);
    const fragments::Place tile = int8_linear::tile_of(index, row_tiles, column_tiles);
    write_tile<T>(a.linear, sums, tile.row * kRows + consumer * 64, tile.column * kColumns);
  }
}

template <typename T>
WAN_BOUNDED_KERNEL(kThreads, 1)
int8_linear_sm90_kernel(const WAN_GRID_CONSTANT Arguments a) {
  WAN_DYNAMIC_SHARED(raw);
  const Shared shared(raw);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      sm90::barrier_init(&shared.full[stage], 1);
      sm90::barrier_init(&shared.empty[stage], kConsumers * sm90::kWarpgroup / simt::kWarp);
    }
    sm90::barrier_init_fence();
  }
  simt::sync_block();
  const int row_tiles = (a.linear.rows + kRows - 1) / kRows;
  const int column_tiles = (a.linear.channels + kColumns - 1) / kColumns;
  if (threadIdx.x < sm90::kWarpgroup) {
    sm90::keep_registers<kProducerRegisters>();
    if (threadIdx.x == 0) {
      sm90::prefetch_map(&a.x);
      sm90::prefetch_map(&a.weight);
      copy_tiles(a, shared, row_tiles, column_tiles);
    }
  } else {
    sm90::take_registers<kConsumerRegisters>();
    multiply_tiles<T>(a, shared, row_tiles, column_tiles);
  }
}

/// The view of codes [rows, depth] in boxes of box_rows by 128 bytes.
inline sm90::TensorView view_of(const int8_t* codes, int rows, int depth, int box_rows) {
  return {codes, 2, 1, {depth, rows}, {1, depth}, {kDepth, box_rows}, sm90::Swizzle::Bytes128};
}

/// `map` makes a tensor map of a view; `blocks` is how many run at one time.
template <typename Map, typename Run>
cudaError_t run_int8_linear_sm90(const Int8LinearArguments& linear, Element element, int blocks, Map map, Run run) {
  Arguments a{};
  a.linear = linear;
  cudaError_t status = map(a.x, view_of(linear.x, linear.rows, linear.depth, kRows));
  if (status != cudaSuccess) return status;
  status = map(a.weight, view_of(linear.weight, linear.channels, linear.depth, kColumns));
  if (status != cudaSuccess) return status;
  const int tiles = (linear.rows + kRows - 1) / kRows * ((linear.channels + kColumns - 1) / kColumns);
  auto* kernel = element == Element::Half ? int8_linear_sm90_kernel<__half> : int8_linear_sm90_kernel<simt::bf16>;
  return run(dim3(unsigned(tiles < blocks ? tiles : blocks)), kThreads, kSharedBytes, kernel, a);
}

}  // namespace wan::kernels::int8_linear_sm90
