// The GELU behind a product, and the sums of latents, on a GPU against float64.
#include "kernels/linear.h"

#include "kernels/combine.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

class LinearGpu : public Gpu {};

TEST_F(LinearGpu, GeluIsTheTanhFormWithAndWithoutBias) {
  for (at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    for (int64_t length : {1, 65, 1560}) {
      Tensor x = randn({1, length, 5120}, dtype), weight = (randn({13824, 5120}) * 0.02).to(dtype),
             bias = randn({13824}, dtype);
      for (const Tensor& added : {bias, Tensor()}) {
        Tensor want = reference::linear(wide(x), weight, added, Activation::GeluTanh);
        Tensor got = kernels::linear(x, weight, added, Activation::GeluTanh);
        // Without a fused bias the product is rounded before the GELU too.
        EXPECT_LT(relative_rms(got, want), 2.5e-3);
        Tensor erf = at::gelu(reference::linear(wide(x), weight, added, Activation::None));
        EXPECT_LT(relative_rms(got, want), relative_rms(got, erf) + 1e-4);
      }
    }
  }
}

TEST_F(LinearGpu, CombinationsOfLatents) {
  Tensor u = randn({16, 21, 60, 104}), c = randn({16, 21, 60, 104}), m = randn({16, 21, 60, 104});
  EXPECT_TRUE(is_close(guide(u, c, 5), reference::guide(wide(u), wide(c), 5), 1e-5));
  Tensor want = reference::weighted_sum({{0.5, wide(u)}, {-2, wide(c)}, {0.25, wide(m)}});
  EXPECT_TRUE(is_close(weighted_sum({{0.5, u}, {-2, c}, {0.25, m}}), want, 5e-6));
}

}  // namespace
}  // namespace wan::kernels
