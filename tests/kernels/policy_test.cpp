// Which shapes take the fused path: decided without a GPU, so that A14B cannot fall off it unseen.
#include "kernels/op/policy.h"

#include "kernels/op/launch.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

using at::Tensor;

TEST(Policy, TheShapesOfA14BAreTaken) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    EXPECT_TRUE(takes_row(5120, dtype));       // the residual stream, q and k
    EXPECT_TRUE(takes_rope(40, 128, dtype));   // 40 heads of 128
    EXPECT_TRUE(takes_row(4096, dtype));       // the text encoder
    for (int64_t channels : {96, 192, 384}) {  // the VAE, float32 into what the convolutions read
      EXPECT_TRUE(takes_pixel(channels, dtype, dtype));
      EXPECT_TRUE(takes_pixel(channels, at::kFloat, dtype));
    }
  }
  EXPECT_TRUE(takes_head(128, at::kBFloat16));
  EXPECT_TRUE(takes_head(128, at::kHalf));
  for (at::ScalarType dtype : {at::kBFloat16, at::kHalf}) EXPECT_TRUE(takes_norm_int8(5120, dtype));
  for (auto [depth, channels] : {std::pair{5120, 15360}, {5120, 5120}, {5120, 13824}, {13824, 5120}})
    EXPECT_TRUE(takes_int8(depth, channels, at::kBFloat16));
}

TEST(Policy, WhatNoKernelReadsIsNotTaken) {
  EXPECT_FALSE(takes_row(5120, at::kDouble));
  EXPECT_FALSE(takes_row(16385, at::kFloat));
  EXPECT_FALSE(takes_row(0, at::kFloat));
  EXPECT_FALSE(takes_rope(40, 127, at::kFloat));
  EXPECT_FALSE(takes_rope(256, 128, at::kFloat));
  EXPECT_FALSE(takes_pixel(1025, at::kHalf, at::kHalf));
  EXPECT_FALSE(takes_pixel(96, at::kHalf, at::kFloat));
  EXPECT_FALSE(takes_head(64, at::kBFloat16));
  EXPECT_FALSE(takes_head(128, at::kFloat));
  EXPECT_FALSE(takes_rotation(5120 + 64, at::kHalf));
  EXPECT_FALSE(takes_norm_int8(5120 + 64, at::kHalf));
  EXPECT_FALSE(takes_norm_int8(16384 + 128, at::kHalf));
  EXPECT_FALSE(takes_norm_int8(5120, at::kDouble));
  EXPECT_FALSE(takes_int8(5120, 5120, at::kFloat));
  EXPECT_FALSE(takes_int8(5120, 5121, at::kBFloat16));
}

TEST(Policy, BoxesReadNestedStrides) {
  const Tensor qkv = at::empty({2, 9, 3 * 4 * 128}, at::kBFloat16);
  EXPECT_TRUE(is_nested(qkv.narrow(2, 512, 512).unflatten(2, {4, 128})));  // a slice of a merged product
  EXPECT_TRUE(is_nested(qkv.narrow(0, 0, 1).unflatten(2, {12, 128})));
  EXPECT_TRUE(is_nested(at::empty({40000}).as_strided({1, 9, 1, 128}, {3, 256, 5, 1})));  // never stepped over
  EXPECT_FALSE(is_nested(at::empty({2, 4, 9, 128}).transpose(1, 2)));                     // heads before tokens
  EXPECT_FALSE(is_nested(at::empty({1, 1, 4, 128}).expand({1, 9, 4, 128})));              // one row again and again
  EXPECT_FALSE(is_nested(at::empty({1, 9, 128, 4}).transpose(2, 3)));
  EXPECT_FALSE(is_nested(at::empty({40000}).as_strided({1, 9, 4, 128}, {0, 1000, 128, 1})));  // not a multiple
}

TEST(Policy, TensorsOfTheCpuTakeTheReference) {
  EXPECT_FALSE(use_fused(at::zeros({1, 5120})));
  EXPECT_FALSE(use_libraries(at::zeros({1, 5120})));
}

TEST(Policy, WithoutACardThereIsNoImageForIt) {
  if constexpr (kFusedBuilt) {
    if (at::hasCUDA()) GTEST_SKIP() << "a card is here: the tests in tests/gpu ask it";
    EXPECT_FALSE(current_card_has_image());
  }
}

}  // namespace
}  // namespace wan::kernels
