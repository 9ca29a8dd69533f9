// What the tests on a GPU share. Without one they skip and say so.
#pragma once

#include <gtest/gtest.h>

#include "kernels/op/device.h"
#include "tests/support.h"

namespace wan::kernels {

using at::Tensor;

/// A test that needs a GPU, libtorch's CUDA part and compiled kernels.
class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!kFusedBuilt) GTEST_SKIP() << "built without kernels: no nvcc, or WAN_CUDA=OFF";
    if (!at::hasCUDA()) GTEST_SKIP() << "no GPU, or built without libtorch's CUDA part (./run --cuda)";
    at::manual_seed(7);
  }

  /// Standard normal on the CPU, so that every card sees the same numbers, then moved.
  static Tensor randn(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
    return at::randn(shape).to(dtype).to(at::kCUDA);
  }
};

/// Relative RMS after one rounding of the result: bfloat16 alone is 1.66e-3, half 2.1e-4; float32 has other sums.
inline double rounding(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? 2e-3 : dtype == at::kHalf ? 3e-4 : 2e-6;
}

inline constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};
/// Token counts around the grains of the kernels, and 1560: one latent frame of 480p.
inline constexpr int64_t kLengths[] = {1, 7, 63, 64, 65, 127, 128, 129, 191, 193, 1560};

inline Tensor wide(const Tensor& x) {
  return x.defined() ? x.to(at::kDouble) : x;
}

}  // namespace wan::kernels
