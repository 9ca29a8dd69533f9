// The VAE's norm kernels, executed through the shim, against the reference in float64.
#include "kernels/channel_norm.cuh"
#include "kernels/norm.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

TEST(ChannelNormKernels, BothLayoutsAtTheNetworksWidths) {
  at::manual_seed(1);
  for (const Storage& s : kStorages) {
    for (int channels : {4, 6, 96, 192, 384, 1000, 1024}) {
      for (bool last : {false, true}) {
        for (bool activate : {false, true}) {
          SCOPED_TRACE(testing::Message() << s.dtype << " " << channels << (last ? " last" : " first"));
          const std::vector<int64_t> shape = {2, channels, 1, 5, 7};  // 35 pixels: a tail in both layouts
          Tensor x = at::randn(shape), gamma = at::randn({channels});
          x.select(4, 3).zero_();  // norm 0
          x.select(4, 4) *= 1e4;   // large pixels
          x = x.to(s.dtype).contiguous(last ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::Contiguous);
          Tensor out = at::full_like(x, std::numeric_limits<double>::quiet_NaN());
          ASSERT_EQ(out.strides(), x.strides());
          ChannelNormArguments a{x.const_data_ptr(), floats(gamma), out.data_ptr(), 2, 35, channels, last, activate};
          run_channel_norm(a, s.element, simt::HostRunner{});
          Tensor want = reference::channel_norm_silu(x.to(at::kDouble), gamma.to(at::kDouble), activate);
          EXPECT_LT(relative_rms(out, want), s.tolerance(x.numel()));
          EXPECT_EQ(max_abs_difference(out.select(4, 3), want.select(4, 3)), 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace wan::kernels
