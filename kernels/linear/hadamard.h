// The rotation that spreads a row's outliers before it is quantised: the Hadamard matrix H_128 on each slice of 128
// channels (the idea of QuaRot, Ashkboos et al. 2024). Symmetric and, divided by sqrt(128), its own inverse, so that
// (x H)(w H)^T = x w^T.
#pragma once

#include "kernels/simt/simt.h"

namespace wan::kernels::hadamard {

constexpr int kSlice = 128;
constexpr int kLaneElements = 16;  // neighbours that a thread of quantise.cuh holds: 16 codes are one store
/// 1 / sqrt(128).
constexpr float kNormaliser = 0.08838834764831845f;
/// Largest magnitude of a code: symmetric, so that -x has the codes of x negated.
constexpr float kLargestCode = 127;
/// Rows whose largest magnitude is below this are zeros: 127 / largest stays finite.
constexpr float kSmallest = 1e-30f;

/// H[row][column] * sqrt(128): the parity of the bits that both indices have.
WAN_HOST_DEVICE int sign(int row, int column) {
  int parity = 0;
  for (int common = row & column; common; common &= common - 1) parity ^= 1;
  return parity ? -1 : 1;
}

/// Element i of a lane's 16 is this channel of the warp's 512; the lanes of a slice are neighbours.
WAN_HOST_DEVICE int channel(int lane, int i) {
  return lane * kLaneElements + i;
}

}  // namespace wan::kernels::hadamard
