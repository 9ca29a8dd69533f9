// The regular Hadamard matrix of order 4 on values in registers, and values of a warp that change places: each lane's
// neighbours become values that lie apart, so that further stages are in registers as well.
#pragma once

#include "kernels/linear/hadamard.cuh"
#include "kernels/simt/simt.h"

namespace wan::kernels::widening {

constexpr int kLaneValues = 16;

/// Each four at distance kStride times H4: one stage.
template <int kStride>
WAN_DEVICE void butterflies(float (&x)[kLaneValues]) {
  WAN_UNROLL
  for (int i = 0; i < kLaneValues; ++i) {
    if (i / kStride % 4 == 0) hadamard::multiply_by_h4(x[i], x[i + kStride], x[i + 2 * kStride], x[i + 3 * kStride]);
  }
}

/// 512 values of a warp in shared memory: two halves of 256, each as rows of 16 that lie 20 apart, so that neither 16
/// neighbours a lane nor one in 16 meet in a bank.
class Exchange {
 public:
  static constexpr int kHalf = 16 * 20 + 16, kWarpFloats = 2 * kHalf;
  WAN_DEVICE explicit Exchange(float* shared)
      : values_(shared + threadIdx.x / simt::kWarp * kWarpFloats), lane_(int(threadIdx.x % simt::kWarp)) {}

  /// x[i] is value 16 * lane + i.
  WAN_DEVICE void put_neighbours(const float (&x)[kLaneValues]) const {
    WAN_UNROLL
    for (int i = 0; i < kLaneValues; i += 4) {
      *reinterpret_cast<float4*>(values_ + place(kLaneValues * lane_ + i)) =
          make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
    }
  }
  /// x[i] is value 16 * i + lane % 16 of the lane's half.
  WAN_DEVICE void put_apart(const float (&x)[kLaneValues]) const {
    WAN_UNROLL
    for (int i = 0; i < kLaneValues; ++i) values_[apart(i)] = x[i];
  }
  WAN_DEVICE void take_apart(float (&x)[kLaneValues]) const {
    WAN_UNROLL
    for (int i = 0; i < kLaneValues; ++i) x[i] = values_[apart(i)];
  }
  /// x[8 * step + i] is value 256 * step + 8 * lane + i.
  WAN_DEVICE void take_eights(float (&x)[kLaneValues]) const {
    WAN_UNROLL
    for (int i = 0; i < kLaneValues; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(values_ + place(i / 8 * 256 + 8 * lane_ + i % 8));
      x[i] = four.x;
      x[i + 1] = four.y;
      x[i + 2] = four.z;
      x[i + 3] = four.w;
    }
  }

 private:
  static WAN_DEVICE int place(int value) { return value / 256 * kHalf + value % 256 / 16 * 20 + value % 16; }
  WAN_DEVICE int apart(int i) const { return place(lane_ / 16 * 256 + 16 * i + lane_ % 16); }

  float* values_;
  int lane_;
};

/// Each group of `order` (4, 16, 64 or 256) values of the warp times the regular Hadamard matrix of that order.
/// x holds 16 neighbours a lane before, and eights (Exchange::take_eights) behind.
WAN_DEVICE void rotate_groups(float (&x)[kLaneValues], int order, const Exchange& exchange) {
  butterflies<1>(x);
  if (order >= 16) butterflies<4>(x);
  exchange.put_neighbours(x);
  simt::sync_warp();
  if (order > 16) {
    exchange.take_apart(x);
    butterflies<1>(x);  // at distance 16
    if (order == 256) butterflies<4>(x);
    exchange.put_apart(x);
    simt::sync_warp();
  }
  exchange.take_eights(x);
  const float normaliser = order == 4 ? 0.5f : order == 16 ? 0.25f : order == 64 ? 0.125f : 0.0625f;
  WAN_UNROLL
  for (int i = 0; i < kLaneValues; ++i) x[i] *= normaliser;
}

}  // namespace wan::kernels::widening
