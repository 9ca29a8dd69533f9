// y = x w^T with 8-bit operands and mma.sync, for sm_80 and newer: tiles of 128x128, 64 bytes of depth a step, three
// stages of cp.async. 8 warps, each 64 rows by 32 columns; 2 * rows * channels * depth operations, sums exact.
#pragma once

#include "kernels/linear/int8_linear.cuh"
#include "kernels/simt/mma.h"

namespace wan::kernels::int8_linear_mma {

constexpr int kThreads = 256, kRows = 128, kColumns = 128, kDepth = 64, kStages = 3;
constexpr int kTileBytes = 128 * kDepth, kStageBytes = 2 * kTileBytes;  // x, then the weight
constexpr int kSharedBytes = kStages * kStageBytes;
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kRowSteps = kWarpRows / 16, kColumnSteps = kWarpColumns / 8, kDepthSteps = kDepth / 32;
constexpr int kChunks = kDepth / 16;  // 16-byte chunks in a row of a tile

/// Copies 128 rows of 64 bytes into a swizzled tile; rows past `count` become zeros.
WAN_DEVICE void copy_tile(unsigned char* tile, const int8_t* matrix, int depth, int first, int count, int begin) {
  WAN_UNROLL
  for (int i = 0; i < 128 * kChunks / kThreads; ++i) {
    const int index = i * kThreads + threadIdx.x, row = index / kChunks, chunk = index % kChunks;
    const bool inside = first + row < count;
    const int8_t* from = matrix + (inside ? int64_t(first + row) * depth + begin + chunk * 16 : 0);
    simt::copy_async_16(tile + fragments::swizzled_pairs(row, chunk), from, inside);
  }
}

/// The address of this lane's row for ldmatrix in the tile of 16 rows by 32 bytes at (row, 32 * step).
WAN_DEVICE const unsigned char* tile_row(const unsigned char* tile, int row, int step, fragments::Place place) {
  return tile + fragments::swizzled_pairs(row + place.row, 2 * step + place.column / 8);
}

/// sums += x w^T over one stage, for the warp's rows and columns that begin at `row` and `column` of the tile.
WAN_DEVICE void multiply_stage(int32_t (&sums)[kRowSteps][kColumnSteps][4], const unsigned char* stage, int row,
                               int column, int lane) {
  const fragments::Place rows_first = fragments::ldmatrix_rows_first(lane);
  const fragments::Place columns_first = fragments::ldmatrix_columns_first(lane);
  WAN_UNROLL
  for (int step = 0; step < kDepthSteps; ++step) {
    uint32_t a[kRowSteps][4], b[kColumnSteps / 2][4];
    WAN_UNROLL
    for (int i = 0; i < kRowSteps; ++i) simt::ldmatrix_x4(a[i], tile_row(stage, row + 16 * i, step, rows_first));
    WAN_UNROLL
    for (int i = 0; i < kColumnSteps / 2; ++i) {
      simt::ldmatrix_x4(b[i], tile_row(stage + kTileBytes, column + 16 * i, step, columns_first));
    }
    WAN_UNROLL
    for (int i = 0; i < kRowSteps; ++i) {
      WAN_UNROLL
      for (int j = 0; j < kColumnSteps; ++j) {
        simt::mma_16x8x32_s8(sums[i][j], a[i], {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]});
      }
    }
  }
}

template <typename T, int8_linear::Epilogue kEpilogue>
WAN_BOUNDED_KERNEL(kThreads, 2)
int8_linear_kernel(Int8LinearArguments a) {
  WAN_DYNAMIC_SHARED(shared);
  const int lane = threadIdx.x % simt::kWarp, warp = threadIdx.x / simt::kWarp;
  const fragments::Place tile =
      int8_linear::tile_of(blockIdx.x, (a.rows + kRows - 1) / kRows, (a.channels + kColumns - 1) / kColumns);
  const int first_row = tile.row * kRows, first_column = tile.column * kColumns;
  const int warp_row = warp / 4 * kWarpRows, warp_column = warp % 4 * kWarpColumns;

  const int steps = a.depth / kDepth;
  auto copy_stage = [&](int step) {
    unsigned char* stage = shared + step % kStages * kStageBytes;
    copy_tile(stage, a.x, a.depth, first_row, a.rows, step * kDepth);
    copy_tile(stage + kTileBytes, a.weight, a.depth, first_column, a.channels, step * kDepth);
  };
  WAN_UNROLL
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) copy_stage(step);
    simt::copy_async_commit();
  }
  int32_t sums[kRowSteps][kColumnSteps][4] = {};
  for (int step = 0; step < steps; ++step) {
    simt::copy_async_wait<kStages - 2>();
    simt::sync_block();  // the stage is complete, and all have left the one that is overwritten next
    if (step + kStages - 1 < steps) copy_stage(step + kStages - 1);
    simt::copy_async_commit();
    multiply_stage(sums, shared + step % kStages * kStageBytes, warp_row, warp_column, lane);
  }

  int8_linear::ColumnPair columns[kColumnSteps];
  const int own_column = first_column + warp_column + fragments::c_16x8(lane, 0).column;
  WAN_UNROLL
  for (int j = 0; j < kColumnSteps; ++j) columns[j] = int8_linear::load_columns(a, own_column + 8 * j);
  WAN_UNROLL
  for (int i = 0; i < kRowSteps; ++i) {
    WAN_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + warp_row + 16 * i + fragments::c_16x8(lane, 2 * half).row;
      const int8_linear::RowFactors factors = int8_linear::load_row<kEpilogue>(a, row);
      WAN_UNROLL
      for (int j = 0; j < kColumnSteps; ++j) {
        int8_linear::write_pair<T, kEpilogue>(a, row, own_column + 8 * j, factors, columns[j], sums[i][j][2 * half],
                                              sums[i][j][2 * half + 1]);
      }
    }
  }
}

template <typename Run>
cudaError_t run_int8_linear(const Int8LinearArguments& a, Element element, Run run) {
  const dim3 grid(unsigned((a.rows + kRows - 1) / kRows * ((a.channels + kColumns - 1) / kColumns)));
  return int8_linear::with_epilogue(a, element, [&](auto type, auto epilogue) {
    using T = typename decltype(type)::type;
    return run(grid, kThreads, kSharedBytes, int8_linear_kernel<T, decltype(epilogue)::value>, a);
  });
}

}  // namespace wan::kernels::int8_linear_mma
