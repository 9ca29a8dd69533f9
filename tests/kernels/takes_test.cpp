// What the fused kernels take: decided without a GPU, so that A14B cannot fall off them unseen.
#include "kernels/op/takes.h"

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/int8_attention.h"
#include "kernels/linear/hadamard.h"
#include "kernels/linear/int8_cuda.h"
#include "kernels/norm/launch.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/rope/rope_cuda.h"
#include "models/vae/vae.h"
#include "models/wan/config.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

constexpr at::ScalarType kActivations[] = {at::kFloat, at::kBFloat16, at::kHalf};
constexpr at::ScalarType kHalves[] = {at::kBFloat16, at::kHalf};

TEST(Takes, EveryShapeOfA14B) {
  for (const WanConfig& config : {kWanT2vA14b, kWanI2vA14b}) {
    for (at::ScalarType dtype : kActivations) {
      EXPECT_TRUE(takes_row(config.dim, dtype));
      EXPECT_TRUE(takes_rope(config.num_heads, config.head_dim(), dtype));
    }
    for (at::ScalarType dtype : kHalves) {
      EXPECT_TRUE(takes_head(config.head_dim(), dtype));
      EXPECT_TRUE(takes_norm_int8(config.dim, dtype));
      for (auto [depth, channels] : {std::pair{config.dim, 3 * config.dim},
                                     {config.dim, config.dim},
                                     {config.dim, config.ffn_dim},
                                     {config.ffn_dim, config.dim}})
        EXPECT_TRUE(takes_int8(depth, channels, dtype)) << depth << " to " << channels;
    }
    EXPECT_EQ(config.head_dim(), kInt8HeadWidth);
  }
  for (int64_t factor : {1, 2, 4})
    for (at::ScalarType dtype : kActivations)
      for (at::ScalarType in : {at::kFloat, dtype}) EXPECT_TRUE(takes_pixel(factor * vae::Widths().base, in, dtype));
}

TEST(Takes, RowsUpToTheWidestThatTheKernelsHold) {
  for (at::ScalarType dtype : kActivations) {
    EXPECT_TRUE(takes_row(1, dtype) && takes_row(kMaxRowChannels, dtype));
    EXPECT_FALSE(takes_row(0, dtype) || takes_row(kMaxRowChannels + 1, dtype));
    EXPECT_TRUE(takes_pixel(1, dtype, dtype) && takes_pixel(kMaxPixelChannels, dtype, dtype));
    EXPECT_FALSE(takes_pixel(0, dtype, dtype) || takes_pixel(kMaxPixelChannels + 1, dtype, dtype));
    EXPECT_TRUE(takes_rotation(kMaxRowChannels, dtype));
    EXPECT_FALSE(takes_rotation(kMaxRowChannels + hadamard::kWidthMultiple, dtype));
    EXPECT_TRUE(takes_rope(kMaxRowChannels / 128, 128, dtype));
    EXPECT_FALSE(takes_rope(kMaxRowChannels / 128 + 1, 128, dtype));
  }
  EXPECT_FALSE(takes_row(128, at::kDouble) || takes_row(128, at::kChar));
}

TEST(Takes, OnlyWidthsThatComeOutWhole) {
  constexpr int64_t kPart = 5 * hadamard::kWidthMultiple + hadamard::kWidthMultiple / 2;
  for (at::ScalarType dtype : kActivations) {
    EXPECT_FALSE(takes_rotation(kPart, dtype));
    EXPECT_FALSE(takes_norm_int8(kPart, dtype));
    EXPECT_FALSE(takes_rope(4, 7, dtype));  // pairs
  }
  for (at::ScalarType dtype : kHalves) {
    EXPECT_FALSE(takes_int8(kPart, 128, dtype));
    EXPECT_FALSE(takes_int8(128, 127, dtype));  // two channels are stored together
    EXPECT_FALSE(takes_head(kInt8HeadWidth / 2, dtype));
  }
}

TEST(Takes, TensorCoresHaveHalvesAndPixelsAreNotWidened) {
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    EXPECT_FALSE(takes_head(kInt8HeadWidth, dtype));
    EXPECT_FALSE(takes_int8(128, 128, dtype));
  }
  for (at::ScalarType dtype : kHalves) EXPECT_FALSE(takes_pixel(96, dtype, at::kFloat));
  EXPECT_FALSE(takes_norm_int8(128, at::kDouble));
}

TEST(Takes, BoxesReadNestedStrides) {
  const Tensor qkv = at::empty({2, 9, 3 * 4 * 128}, at::kBFloat16);
  EXPECT_TRUE(is_nested(qkv.narrow(2, 512, 512).unflatten(2, {4, 128})));  // a slice of a merged product
  EXPECT_TRUE(is_nested(qkv.narrow(0, 0, 1).unflatten(2, {12, 128})));
  EXPECT_TRUE(is_nested(at::empty({40000}).as_strided({1, 9, 1, 128}, {3, 256, 5, 1})));  // never stepped over
  EXPECT_FALSE(is_nested(at::empty({2, 4, 9, 128}).transpose(1, 2)));                     // heads before tokens
  EXPECT_FALSE(is_nested(at::empty({1, 1, 4, 128}).expand({1, 9, 4, 128})));              // one row again and again
  EXPECT_FALSE(is_nested(at::empty({1, 9, 128, 4}).transpose(2, 3)));
  EXPECT_FALSE(is_nested(at::empty({40000}).as_strided({1, 9, 4, 128}, {0, 1000, 128, 1})));  // not a multiple
}

TEST(Takes, EfficientAttentionCountsIn32Bits) {
  // The values of 161 frames at 720p as they lie in the merged product of 40 heads; no memory behind them.
  const auto values = [](int64_t tokens, int64_t stride) {
    const at::TensorOptions nowhere = at::TensorOptions(at::kMeta).dtype(at::kBFloat16);
    return at::empty_strided({1, tokens, 40, 128}, {tokens * stride, stride, 128, 1}, nowhere);
  };
  constexpr int64_t kMerged = 3 * 40 * 128;
  EXPECT_TRUE(spans_int32(values(75600, kMerged)));
  EXPECT_TRUE(spans_int32(values(139810, kMerged)));
  EXPECT_FALSE(spans_int32(values(139812, kMerged)));
  EXPECT_FALSE(spans_int32(values(147600, kMerged)));
  EXPECT_TRUE(spans_int32(values(147600, kMerged / 3)));  // a copy of them
}

}  // namespace
}  // namespace wan::kernels
