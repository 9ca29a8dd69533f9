// The VAE's norm against its formula in float64.
#include "kernels/norm/channel_norm.h"

#include <cmath>

#include "tests/support.h"

namespace wan::kernels {
namespace {

/// float32 against float64, values up to 4.
constexpr double kFloat32 = 5e-6;

Tensor formula(const Tensor& x, const Tensor& gamma, bool activate) {
  const Tensor wide = x.to(at::kDouble);
  Tensor y = wide / wide.square().sum(-1, true).sqrt().clamp_min(1e-12) * std::sqrt(double(gamma.numel())) * gamma;
  return activate ? y * y.sigmoid() : y;
}

class ChannelNorm : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(11); }
};

TEST_P(ChannelNorm, FollowsTheFormulaPerPixel) {
  // Relative RMS: sums of up to 96 squares; bfloat16 rounds the result to 8 bits, 2^-9 at most.
  const double limit = GetParam() == at::kBFloat16 ? 0x1p-9 : GetParam() == at::kDouble ? 1e-14 : 1e-6;
  // One pixel, a block with a tail, and more than one block of every core.
  for (std::vector<int64_t> shape : {std::vector<int64_t>{1, 1, 1, 24}, {2, 5, 7, 96}, {2, 45, 41, 96}}) {
    Tensor x = at::randn(shape, GetParam()), gamma = at::randn({shape[3]}, at::kDouble).to(GetParam());
    x.select(1, 0).select(1, 0).zero_();  // a black pixel: its length is zero, the divisor 1e-12
    for (bool activate : {false, true}) {
      Tensor out = at::full_like(x, NAN);
      channel_norm_silu(x, gamma, activate, out);
      EXPECT_LE(relative_rms(out, formula(x, gamma.to(at::kDouble), activate)), limit) << at::IntArrayRef(shape);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ChannelNorm, testing::Values(at::kFloat, at::kDouble, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

TEST(ChannelNormWindow, WritesIntoASliceAndNowhereElse) {
  Tensor x = at::randn({2, 3, 3, 8}), gamma = at::randn({8}), window = at::full({4, 3, 3, 8}, 7.0);
  channel_norm_silu(x, gamma, true, window.narrow(0, 2, 2));
  EXPECT_TRUE(is_close(window.narrow(0, 2, 2), formula(x, gamma, true), kFloat32));
  EXPECT_TRUE(window.narrow(0, 0, 2).eq(7).all().item<bool>());
}

TEST(ChannelNormWindow, AddsABiasFirst) {
  at::manual_seed(12);
  const Tensor x = at::randn({2, 5, 7, 24}), gamma = at::randn({24}), bias = at::randn({24});
  Tensor out = at::full_like(x, NAN);
  biased_channel_norm_silu(x, bias, gamma, true, out);
  EXPECT_TRUE(is_close(out, formula(x + bias, gamma, true), kFloat32));
  EXPECT_THROW(biased_channel_norm_silu(x, at::ones({23}), gamma, true, out), c10::Error);
}

TEST(ChannelNormParts, APixelHasTheSameBitsAmongFewAsAmongMany) {
  for (const int64_t channels : {1, 3, 4, 96})
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      const Tensor x = at::randn({1, 29, 23, channels}).to(dtype), gamma = at::randn({channels});
      Tensor whole = at::empty_like(x);
      channel_norm_silu(x, gamma, /*activate=*/true, whole);
      for (const int64_t rows : {1, 2, 7}) {
        Tensor part = at::empty_like(x.narrow(1, 11, rows));
        channel_norm_silu(x.narrow(1, 11, rows), gamma, /*activate=*/true, part);
        EXPECT_TRUE(part.equal(whole.narrow(1, 11, rows))) << rows << " rows of " << channels << " channels, " << dtype;
      }
    }
}

TEST(ChannelNormWindow, RefusesOtherShapesAndLayouts) {
  Tensor x = at::randn({2, 3, 3, 8}), out = at::empty_like(x), gamma = at::ones({8});
  EXPECT_THROW(channel_norm_silu(x, at::ones({7}), true, out), c10::Error);
  EXPECT_THROW(channel_norm_silu(x, gamma, true, at::empty({2, 3, 4, 8})), c10::Error);
  EXPECT_THROW(channel_norm_silu(x.transpose(1, 2), gamma, true, out), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
