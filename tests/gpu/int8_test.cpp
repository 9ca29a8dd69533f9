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
      const QuantisedHeads cpu_queries = quantise_queries(q.cpu(), scale * log2e);
      const QuantisedHeads cpu_keys = quantise_keys(k.cpu(), k.cpu().mean(1, false, at::kFloat));
      for (auto [values, sums] :
           {std::pair{Values::Plain, Sums::Float}, {Values::Float8, Sums::Float}, {Values::Float8, Sums::Half}}) {
        if (values == Values::Float8 && cuda::architecture(q.device()) < 89) continue;
        // The kernel itself: the operation would leave 8-bit values to the GPUs that gain by them.
        const auto got = cuda::attention_int8(queries, keys, v, {values, sums});
        ASSERT_TRUE(got);
        const Tensor want = reference::attention_int8(cpu_queries, cpu_keys, v.cpu(), values, sums);
        EXPECT_LT(relative_rms(got->cpu(), want), values == Values::Plain ? 3e-3 : 2e-2) << length;
      }
    }
  }
}

/// Whatever the card does inside: every weight and every code is the largest, and the sum is below 65504.
TEST_F(Int8Gpu, HalfSumsHoldTheLargestWeightsAndValues) {
  if constexpr (kFusedBuilt) {
    const at::TensorOptions here = randn({1}).options();
    const QuantisedHeads queries = {at::full({1, 1, 20, 128}, 127, here.dtype(at::kChar)),
                                    at::full({1, 1, 20}, 0x1p-20, here)};
    const QuantisedHeads keys = {at::full({1, 1, 1000, 128}, 127, here.dtype(at::kChar)), at::ones({1, 1, 8}, here)};
    const Tensor v = at::full({1, 1000, 1, 128}, -3, here.dtype(at::kBFloat16));
    if (cuda::architecture(v.device()) < 89) GTEST_SKIP() << "no 8-bit floats before sm_89";
    const auto got = cuda::attention_int8(queries, keys, v, {Values::Float8, Sums::Half});
    ASSERT_TRUE(got);
    EXPECT_LT(relative_rms(*got, v.narrow(1, 0, 20)), 4e-3);
  }
}

}  // namespace
}  // namespace wan::kernels
