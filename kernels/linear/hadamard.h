// The rotation that spreads a row's outliers before it is quantised (the idea of QuaRot, Ashkboos et al. 2024): the
// regular Hadamard matrix of ConvRot checkpoints on each group of neighbouring channels. H = H4 (x) H4 (x) ... /
// sqrt(order), and H4 is 1 with -1 on its antidiagonal. Symmetric and its own inverse, so that (x H)(w H)^T = x w^T. All
// its rows have the same sum: no coefficient collects the mean of a group, as the first one of Sylvester's matrix does.
#pragma once

#include "kernels/simt/simt.h"

namespace wan::kernels::hadamard {

/// Orders of the rotation, channels of a group: powers of 4.
constexpr int kOrder = 256, kSmallOrder = 64;
/// Rows that are rotated have a multiple of this many channels: whole groups of one order or the other.
constexpr int kWidthMultiple = 128;

/// The order for rows of this width, a multiple of kWidthMultiple.
WAN_HOST_DEVICE int order(int64_t channels) {
  return channels % kOrder ? kSmallOrder : kOrder;
}

/// 1 / sqrt(order), a power of 2: products with it are exact.
WAN_HOST_DEVICE float normaliser(int order) {
  return order == kOrder ? 1.0f / 16 : 1.0f / 8;
}

}  // namespace wan::kernels::hadamard
