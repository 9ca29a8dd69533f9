// 8-bit products and attention on a GPU: codes and integer sums are those of the CPU, the rest within one rounding.
#include "kernels/int8.h"

#include "kernels/cuda_int8.h"
#include "kernels/int8_attention.h"
#include "tests/gpu/int8.h"

namespace wan::kernels {
namespace {

class Int8Gpu : public Gpu {};

TEST_F(Int8Gpu, RowsHaveTheCodesOfTheCpu) {
  for (int64_t channels : {128, 5120, 13824}) {
    for (at::ScalarType dtype : kDtypes) {
      const Tensor x = randn({65, channels}, dtype);
      const QuantisedRows got = quantise_rows(x), want = quantise_rows(x.cpu());
      EXPECT_TRUE(got.codes.cpu().equal(want.codes)) << channels << " " << dtype;
      EXPECT_TRUE(got.scale.cpu().equal(want.scale)) << channels << " " << dtype;
    }
  }
}

TEST_F(Int8Gpu, TheProductIsTheIntegers) {
  if constexpr (kFusedBuilt) {
    for (auto [channels, depth] : {std::pair<int64_t, int64_t>{15360, 5120}, {5120, 13824}, {130, 128}}) {
      const QuantisedRows weight = quantise_rows((randn({channels, depth}) * 0.02).to(at::kBFloat16));
      const Tensor bias = randn({channels});
      for (int64_t length : kLengths) {
        SCOPED_TRACE(testing::Message() << length << " x " << depth << " to " << channels);
        expect_integers(quantise_rows(randn({length, depth}, at::kBFloat16)), weight, bias, Product::Mma);
      }
    }
  }
}

TEST_F(Int8Gpu, AttentionIsTheSimulation) {
  if constexpr (kFusedBuilt) {
    const double scale = 1 / std::sqrt(128.0), log2e = 1.4426950408889634;
    for (int64_t length : kLengths) {
      const Tensor q = randn({1, length, 3, 128}, at::kBFloat16), k = randn({1, length, 3, 128}, at::kBFloat16);
      const Tensor v = (randn({1, length, 3, 128}) + 1).to(at::kBFloat16);
      const QuantisedHeads queries = quantise_queries(q, scale * log2e);
      const QuantisedHeads keys = quantise_keys(k, k.mean(1, false, at::kFloat));
      for (Values values : {Values::Plain, Values::Float8}) {
        if (values == Values::Float8 && cuda::architecture(q.device()) < 89) continue;
        // The kernel itself: the operation would leave 8-bit values to the GPUs that gain by them.
        const auto got = cuda::attention_int8(queries, keys, v, values, Product::Mma);
        ASSERT_TRUE(got);
        const Tensor want = attention_int8(q.cpu(), k.cpu(), v.cpu(), scale, values);
        EXPECT_LT(relative_rms(got->cpu(), want), values == Values::Plain ? 3e-3 : 2e-2) << length;
      }
    }
  }
}

}  // namespace
}  // namespace wan::kernels
