// The VAE's norm kernel, executed through the shim, against the reference in float64.
#include "kernels/norm/channel_norm.cuh"

#include "kernels/norm/channel_norm.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

TEST(ChannelNormKernel, EveryTypeAtTheNetworksWidths) {
  at::manual_seed(1);
  for (const Storage& in : kStorages) {
    for (const Storage& out : kStorages) {
      for (int channels : {4, 6, 96, 192, 384, 1000, 1024}) {
        const bool activate = channels != 192;
        SCOPED_TRACE(testing::Message() << in.dtype << " to " << out.dtype << ", " << channels);
        Tensor x = at::randn({35, channels}), gamma = at::randn({channels});  // 35 pixels: four blocks and a part
        x[3].zero_();
        x[4] *= 1e3;
        x = x.to(in.dtype);
        Tensor got = poisoned(x.sizes(), out.dtype);
        ChannelNormArguments a{x.const_data_ptr(), floats(gamma), got.data_ptr(), 35, channels, activate};
        cudaError_t status = run_channel_norm(a, in.element, out.element, simt::HostRunner{});
        if (in.dtype != out.dtype && in.dtype != at::kFloat) {
          EXPECT_EQ(status, cudaErrorInvalidValue);
          continue;
        }
        ASSERT_EQ(status, cudaSuccess);
        Tensor want = at::empty(x.sizes(), at::kDouble);
        reference::channel_norm_silu(x.to(at::kDouble), gamma, activate, want);
        EXPECT_LT(relative_rms(got, want), out.tolerance(x.numel()));
        EXPECT_EQ(max_abs_difference(got[3], want[3]), 0);
      }
    }
  }
}

TEST(ChannelNormKernel, AddsTheBiasOfTheConvolutionBefore) {
  at::manual_seed(4);
  for (const Storage& storage : kStorages) {
    for (int channels : {6, 96, 384, 1000}) {
      const Tensor x = at::randn({35, channels}).to(storage.dtype), gamma = at::randn({channels}),
                   bias = 3 * at::randn({channels});
      Tensor got = poisoned(x.sizes(), storage.dtype), want = at::empty(x.sizes(), at::kDouble);
      const ChannelNormArguments a{x.const_data_ptr(), floats(gamma), got.data_ptr(), 35, channels, true, floats(bias)};
      ASSERT_EQ(run_channel_norm(a, storage.element, storage.element, simt::HostRunner{}), cudaSuccess);
      reference::channel_norm_silu(x.to(at::kDouble) + bias, gamma, true, want);
      EXPECT_LT(relative_rms(got, want), storage.tolerance(x.numel())) << storage.dtype << ", " << channels;
    }
  }
}

TEST(ChannelNormKernel, WorksInPlace) {
  at::manual_seed(2);
  Tensor x = at::randn({9, 96}), gamma = at::randn({96}), want = at::empty({9, 96}, at::kDouble);
  reference::channel_norm_silu(x.to(at::kDouble), gamma, true, want);
  ChannelNormArguments a{x.const_data_ptr(), floats(gamma), x.data_ptr(), 9, 96, true};
  run_channel_norm(a, Element::Float, Element::Float, simt::HostRunner{simt::Order::Reverse});
  EXPECT_LT(relative_rms(x, want), 2e-6);
}

}  // namespace
}  // namespace wan::kernels
