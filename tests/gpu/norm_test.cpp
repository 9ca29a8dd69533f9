// The fused norms on a GPU against the reference in float64 on the same GPU. Each test first asserts that the kernel
// takes the tensors: the operation would fall back, and ATen be compared with ATen.
#include "kernels/norm/norm.h"

#include "kernels/norm/channel_norm.h"
#include "kernels/norm/norm_cuda.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

class NormGpu : public Gpu {};

constexpr double kEps = 1e-6;

TEST_F(NormGpu, RmsNormAtEveryLength) {
  for (at::ScalarType dtype : kDtypes) {
    for (int64_t length : kLengths) {
      SCOPED_TRACE(testing::Message() << dtype << ", " << length);
      Tensor x = randn({1, length, 5120}, dtype), weight = randn({5120});
      const auto got = cuda::rms_norm(x, weight, kEps);
      ASSERT_TRUE(got);
      EXPECT_LT(relative_rms(*got, reference::rms_norm(wide(x), weight, kEps)), rounding(dtype));
      EXPECT_TRUE(rms_norm(x, weight, kEps).equal(*got));
    }
  }
}

TEST_F(NormGpu, ResidualGateAndModulationInTwoSegments) {
  for (at::ScalarType dtype : kDtypes) {
    for (int64_t length : kLengths) {
      SCOPED_TRACE(testing::Message() << dtype << ", " << length);
      const Segments ends = {length / 2, length};
      Tensor x = randn({2, length, 5120}), y = randn({2, length, 5120}, dtype), gate = randn({2, 5120});
      NextNorm next{{}, {}, randn({2, 5120}), randn({2, 5120}), kEps},
          exact{{}, {}, wide(next.shift), wide(next.scale), kEps};
      Tensor want = wide(x);
      Tensor normed = reference::gated_residual_norm_(want, wide(y), wide(gate), exact, ends, at::kDouble);
      Tensor twin = x.clone(), added = x.clone();
      const auto got = cuda::gated_residual_norm_(x, y, gate, next, ends, dtype);
      ASSERT_TRUE(got);
      ASSERT_TRUE(cuda::gated_residual_(added, y, gate, ends));
      ASSERT_TRUE(cuda::modulated_layer_norm(x, next.shift, next.scale, ends, kEps, dtype));
      EXPECT_LT(relative_rms(x, want), 1e-6);
      EXPECT_LT(relative_rms(added, want), 1e-6);
      EXPECT_LT(relative_rms(*got, normed), rounding(dtype));
      EXPECT_TRUE(gated_residual_norm_(twin, y, gate, next, ends, dtype).equal(*got));
    }
  }
}

TEST_F(NormGpu, AffineAndConstantRowsAndLargeMeans) {
  Tensor x = randn({1, 65, 1536}), weight = randn({1536}), bias = randn({1536});
  x.select(1, 0).fill_(3);
  for (double mean : {0.0, 1e4}) {
    x += mean;
    const auto got = cuda::layer_norm(x, weight, bias, kEps, at::kBFloat16);
    ASSERT_TRUE(got);
    EXPECT_LT(relative_rms(*got, reference::layer_norm(wide(x), weight, bias, kEps, at::kDouble)),
              rounding(at::kBFloat16));
    EXPECT_TRUE(layer_norm(x, weight, bias, kEps, at::kBFloat16).equal(*got));
  }
}

TEST_F(NormGpu, AStrideTheKernelDoesNotReadFallsBack) {
  Tensor x = randn({4, 10240}).narrow(1, 1, 5120), weight = randn({5120});
  EXPECT_FALSE(cuda::rms_norm(x, weight, kEps));
  EXPECT_TRUE(cuda::rms_norm(x.contiguous(), weight, kEps));
  const Context reference_only({.reference = true}, at::Device(at::kCUDA, 0));
  EXPECT_FALSE(cuda::rms_norm(x.contiguous(), weight, kEps, reference_only));
  EXPECT_TRUE(cuda::rms_norm(x.contiguous(), weight, kEps)) << "another Context is not asked";
  EXPECT_LT(relative_rms(rms_norm(x, weight, kEps), reference::rms_norm(wide(x), weight, kEps)), 2e-6);
}

TEST_F(NormGpu, ChannelNormOfThePixels) {
  for (at::ScalarType dtype : kDtypes) {
    for (int64_t channels : {96, 192, 384}) {
      Tensor x = randn({2, 5, 7, channels}), gamma = randn({channels});
      Tensor window = at::full({4, 5, 7, channels}, std::numeric_limits<double>::quiet_NaN(), x.options().dtype(dtype));
      Tensor got = window.narrow(0, 2, 2), want = at::empty(x.sizes(), x.options().dtype(at::kDouble));
      reference::channel_norm_silu(wide(x), gamma, true, want);
      ASSERT_TRUE(cuda::channel_norm_silu(x, gamma, true, got));
      EXPECT_LT(relative_rms(got, want), rounding(dtype));
      EXPECT_TRUE(window.narrow(0, 0, 2).isnan().all().item<bool>());  // the causal frames before it are untouched
      const Tensor bias = randn({channels});
      reference::biased_channel_norm_silu(wide(x), wide(bias), gamma, true, want);
      ASSERT_TRUE(cuda::biased_channel_norm_silu(x, bias, gamma, true, got));
      EXPECT_LT(relative_rms(got, want), rounding(dtype));
    }
  }
}

}  // namespace
}  // namespace wan::kernels
