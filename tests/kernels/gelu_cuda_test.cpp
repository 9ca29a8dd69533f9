// GELU behind a product, executed through the shim, against float64.
#include "kernels/linear/gelu.cuh"

#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

TEST(GeluKernel, GeluWithAndWithoutBias) {
  at::manual_seed(1);
  for (const Storage& s : kStorages) {
    for (int channels : {1, 7, 1024, 1500}) {
      for (bool with_bias : {false, true}) {
        Tensor x = (at::randn({3, channels}) * 3).to(s.dtype), bias = at::randn({channels}).to(s.dtype);
        x[0][0] = -60000;  // the exponential overflows
        x[1][0] = 60000;
        Tensor sum = x.to(at::kDouble) + (with_bias ? bias.to(at::kDouble) : at::zeros({}, at::kDouble));
        BiasGeluArguments a{x.data_ptr(), with_bias ? bias.const_data_ptr() : nullptr, 3, channels};
        run_bias_gelu(a, s.element, simt::HostRunner{});
        EXPECT_LT(relative_rms(x, at::gelu(sum, "tanh")), s.half_unit);
        EXPECT_EQ(x[0][0].item<float>(), 0);
        if (channels > 1) {
          EXPECT_LT(relative_rms(x.slice(1, 1), at::gelu(sum, "tanh").slice(1, 1)), s.half_unit);
        }
      }
    }
  }
}

}  // namespace
}  // namespace wan::kernels
