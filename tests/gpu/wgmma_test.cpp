// The kernels with wgmma on a GPU that has it. In a program run of their own (gpu_check.sh): a kernel that waits for
// ever ends itself, and nothing runs on the device behind that.
#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/int8_attention_cuda.h"
#include "kernels/attention/selector.h"
#include "tests/gpu/int8.h"
#include "tests/gpu/skip_softmax.h"

namespace wan::kernels {
namespace {

constexpr double kScale = 0.08838834764831845, kLog2E = 1.4426950408889634;  // 1 / sqrt(128)

class WgmmaGpu : public Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (IsSkipped()) return;
    if (!cuda::has_wgmma(at::Device(at::kCUDA, 0))) GTEST_SKIP() << "this GPU has no wgmma: sm_90 alone does";
  }
};

TEST_F(WgmmaGpu, LinearIsTheIntegers) {
  for (auto [channels, depth] : {std::pair<int64_t, int64_t>{130, 128}, {15360, 5120}, {5120, 13824}}) {
    const QuantisedRows weight = quantise_rows((randn({channels, depth}) * 0.02).to(at::kBFloat16));
    const Tensor bias = randn({channels});
    for (int64_t length : kLengths) {
      SCOPED_TRACE(testing::Message() << length << " x " << depth << " to " << channels);
      expect_integers(quantise_rows(randn({length, depth}, at::kBFloat16)), weight, bias, Instructions::Wgmma);
    }
  }
}

TEST_F(WgmmaGpu, AttentionAtEveryLength) {
  for (at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    for (int64_t queries : kLengths) {
      for (int64_t keys : {queries, int64_t(126)}) {
        SCOPED_TRACE(testing::Message() << dtype << ", " << queries << " by " << keys);
        const Tensor packed = randn({2, queries, 3, 3 * 128}, dtype);
        const Tensor q = packed.narrow(3, 0, 128);
        const Tensor k = randn({2, keys, 3, 128}, dtype), v = randn({2, keys, 3, 128}, dtype);
        const auto got = cuda::attention(q, k, v, 0.09, {}, Instructions::Wgmma);
        ASSERT_TRUE(got);
        EXPECT_LT(relative_rms(*got, reference::attention(wide(q), wide(k), wide(v), 0.09)),
                  dtype == at::kHalf ? 4e-4 : 2.5e-3);
      }
    }
  }
}

TEST_F(WgmmaGpu, TheLongestTailOf720p) {
  const Tensor q = randn({1, 75600, 2, 128}, at::kBFloat16), k = randn({1, 75600, 2, 128}, at::kBFloat16);
  const Tensor v = (randn({1, 75600, 2, 128}) + 1).to(at::kBFloat16);
  const auto got = cuda::attention(q, k, v, kScale, {}, Instructions::Wgmma);
  ASSERT_TRUE(got);
  EXPECT_LE(sampled_error(*got, q, k, v, kScale, {}), 2.5e-3);
  const QuantisedHeads queries = quantise_queries(q, kScale * kLog2E);
  const QuantisedHeads keys = quantise_keys(k, k.mean(1, false, at::kFloat));
  for (Values values : {Values::Plain, Values::Float8}) {
    const auto eight = cuda::attention_int8(queries, keys, v, {values, Sums::Float, Instructions::Wgmma});
    ASSERT_TRUE(eight);
    EXPECT_LE(sampled_error(*eight, q, k, v, kScale, {}), values == Values::Plain ? 3e-3 : 5e-3);
  }
}

TEST_F(WgmmaGpu, EightBitAttentionIsTheSimulation) {
  for (int64_t length : kLengths) {
    const Tensor q = randn({2, length, 3, 128}, at::kBFloat16), k = randn({2, length, 3, 128}, at::kBFloat16);
    const Tensor v = (randn({2, length, 3, 128}) + 1).to(at::kBFloat16);
    const QuantisedHeads queries = quantise_queries(q, kScale * kLog2E);
    const QuantisedHeads keys = quantise_keys(k, k.mean(1, false, at::kFloat));
    for (Values values : {Values::Plain, Values::Float8}) {
      const auto got = cuda::attention_int8(queries, keys, v, {values, Sums::Float, Instructions::Wgmma});
      ASSERT_TRUE(got);
      const Tensor want = attention_int8(q.cpu(), k.cpu(), v.cpu(), kScale, values);
      EXPECT_LT(relative_rms(got->cpu(), want), values == Values::Plain ? 3e-3 : 2e-2) << length;
    }
  }
}

TEST_F(WgmmaGpu, TheOperationsUseItWhereItIsOn) {
  const at::Device device(at::kCUDA, 0);
  const auto on = make_context({.wgmma = Wgmma::On}, device), measured = make_context({}, device),
             off = make_context({.wgmma = Wgmma::Off}, device);
  for (const auto& context : {on.get(), off.get()}) context->attention()->pin("wgmma");
  const Tensor q = randn({1, 300, 2, 128}, at::kBFloat16), k = randn({1, 300, 2, 128}, at::kBFloat16);
  EXPECT_TRUE(attention(q, k, k, kScale, {}, *on).equal(*cuda::attention(q, k, k, kScale, {}, Instructions::Wgmma)));
  EXPECT_EQ(on->attention()->choices().begin()->second, "wgmma");
  EXPECT_TRUE(cuda::multiplies_float8(device, *on));
  EXPECT_LT(relative_rms(attention_int8(q, k, k, kScale, Values::Float8, *on).cpu(),
                         attention_int8(q.cpu(), k.cpu(), k.cpu(), kScale, Values::Float8)),
            2e-2);
  EXPECT_FALSE(cuda::multiplies_float8(device, *measured)) << "another Context is not asked";
  attention(q, k, k, kScale, {}, *off);
  EXPECT_NE(off->attention()->choices().begin()->second, "wgmma") << "off holds for pins, too";
}

TEST_F(WgmmaGpu, SkipSoftmaxIsTheReferences) {
  expect_skipping(Instructions::Wgmma);
  expect_skipping_int8(Instructions::Wgmma);
}

}  // namespace
}  // namespace wan::kernels
