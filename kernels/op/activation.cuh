// Activations of the networks, in float32.
#pragma once

#include "kernels/simt/simt.h"

namespace wan::kernels {

/// x / (1 + e^-x); -0 where e^-x overflows.
WAN_DEVICE float silu(float x) {
  constexpr float kLog2E = 1.44269504f;
  return x / (1.0f + simt::exp2_fast(-kLog2E * x));
}

/// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), by tanh(u) = 2 / (1 + e^-2u) - 1.
WAN_DEVICE float gelu_tanh(float x) {
  constexpr float kTwiceRootLog2E = 2 * 0.79788456f * 1.44269504f;
  return x / (1.0f + simt::exp2_fast(-kTwiceRootLog2E * (x + 0.044715f * x * x * x)));
}

}  // namespace wan::kernels
