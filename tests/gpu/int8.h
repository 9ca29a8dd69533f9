// What the tests of 8-bit products on a GPU share.
#pragma once

#include "kernels/linear/int8_cuda.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {

/// The product of one kernel against exact integers.
inline void expect_integers(const QuantisedRows& x, const QuantisedRows& weight, const Tensor& bias,
                            Instructions instructions) {
  const auto got = cuda::multiply_rows(x, weight, bias, Activation::None, at::kBFloat16, instructions);
  ASSERT_TRUE(got);
  EXPECT_LT(relative_rms(*got, reference::linear_int8(x, weight, bias)), rounding(at::kBFloat16));
  if (instructions != Instructions::Wgmma) return;
  const auto in_turns = cuda::multiply_rows_in_turns(x, weight, bias, Activation::None, at::kBFloat16);
  ASSERT_TRUE(in_turns);
  EXPECT_TRUE(in_turns->equal(*got)) << "exact sums, and the same roundings behind them";
}

}  // namespace wan::kernels
