// GELU and linear combinations, executed through the shim, against float64.
#include "kernels/pointwise.cuh"

#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

TEST(PointwiseKernels, GeluWithAndWithoutBias) {
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

TEST(PointwiseKernels, CombinationsOfLatents) {
  at::manual_seed(2);
  Tensor x = at::randn({kMaxTerms, 777}), factors = at::randn({kMaxTerms});
  for (int terms = 1; terms <= kMaxTerms; ++terms) {
    Tensor out = poisoned({777}, at::kFloat);
    CombineArguments a{};
    for (int i = 0; i < terms; ++i) {
      a.x[i] = x[i].const_data_ptr<float>();
      a.factor[i] = factors[i].item<float>();
    }
    a.out = out.data_ptr<float>();
    a.size = 777;
    a.terms = terms;
    run_combine(a, simt::HostRunner{});
    Tensor want = at::mv(x.slice(0, 0, terms).to(at::kDouble).t(), factors.slice(0, 0, terms).to(at::kDouble));
    EXPECT_TRUE(is_close(out, want, 2e-6));
  }
  Tensor out = poisoned({777}, at::kFloat);
  CombineArguments a{
      {x[0].const_data_ptr<float>(), x[1].const_data_ptr<float>()}, {0, 5}, out.data_ptr<float>(), 777, 2, true};
  run_combine(a, simt::HostRunner{});
  EXPECT_TRUE(is_close(out, x[0].to(at::kDouble) + 5 * (x[1] - x[0].to(at::kDouble)), 5e-6));
}

}  // namespace
}  // namespace wan::kernels
