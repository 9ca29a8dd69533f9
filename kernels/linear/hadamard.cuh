// The rotation in registers: radix-4 steps on the numbers of the channels, on digits that lie in one lane and on digits
// that lie in the numbers of the lanes. Sums are rounded in the one order that regular_hadamard has as well, so that the
// codes are those of the reference bit for bit.
#pragma once

#include "kernels/linear/hadamard.h"

namespace wan::kernels::hadamard {

/// (a, b, c, d) times H4: each is (itself + its neighbour) + (the other pair's difference).
WAN_DEVICE void multiply_by_h4(float& a, float& b, float& c, float& d) {
  const float first_sum = a + b, first_difference = a - b, second_sum = c + d, second_difference = c - d;
  a = first_sum + second_difference;
  b = first_sum - second_difference;
  c = second_sum + first_difference;
  d = second_sum - first_difference;
}

/// The same for a digit that lies in two bits of the lane's number, `mask` and twice that: two shuffles an element.
template <int kElements>
WAN_DEVICE void multiply_lanes_by_h4(float (&x)[kElements], int mask) {
  WAN_UNROLL
  for (int i = 0; i < kElements; ++i) {
    const float neighbour = simt::shuffle_xor(x[i], mask);
    x[i] = (x[i] + neighbour) + simt::shuffle_xor(x[i] - neighbour, 2 * mask);
  }
}

/// Groups of `order` channels times sqrt(order) H in place. A lane holds 16 neighbours, lanes are side by side: two
/// digits in the lane, one or two in the lanes' numbers.
WAN_DEVICE void rotate_groups(float (&x)[16], int order) {
  WAN_UNROLL
  for (int i = 0; i < 16; i += 4) multiply_by_h4(x[i], x[i + 1], x[i + 2], x[i + 3]);
  WAN_UNROLL
  for (int i = 0; i < 4; ++i) multiply_by_h4(x[i], x[i + 4], x[i + 8], x[i + 12]);
  multiply_lanes_by_h4(x, 1);
  if (order == kOrder) multiply_lanes_by_h4(x, 4);
}

/// The same for 256 channels of a warp, of which a lane holds 4 neighbours in each half: one digit in the lane, two in
/// the lanes' numbers, and one in the lane's highest bit and the half. With order 64 a half is two groups.
WAN_DEVICE void rotate_halves(float (&low)[4], float (&high)[4], int order) {
  multiply_by_h4(low[0], low[1], low[2], low[3]);
  multiply_by_h4(high[0], high[1], high[2], high[3]);
  WAN_UNROLL
  for (int mask = 1; mask <= 4; mask *= 4) {
    multiply_lanes_by_h4(low, mask);
    multiply_lanes_by_h4(high, mask);
  }
  if (order != kOrder) return;
  WAN_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float low_neighbour = simt::shuffle_xor(low[i], 16), high_neighbour = simt::shuffle_xor(high[i], 16);
    const float low_difference = low[i] - low_neighbour, high_difference = high[i] - high_neighbour;
    low[i] = (low[i] + low_neighbour) + high_difference;
    high[i] = (high[i] + high_neighbour) + low_difference;
  }
}

}  // namespace wan::kernels::hadamard
