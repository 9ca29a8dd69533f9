// Every attention back end on a GPU against the reference in float64, and the choice among them.
#include "kernels/attention/attention.h"

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/selector.h"
#include "tests/gpu/skip_softmax.h"

namespace wan::kernels {
namespace {

class AttentionGpu : public Gpu {};

TEST_F(AttentionGpu, OurKernelAtEveryLength) {
  for (at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    for (int64_t queries : kLengths) {
      for (int64_t keys : {queries, int64_t(126)}) {
        SCOPED_TRACE(testing::Message() << dtype << ", " << queries << " by " << keys);
        Tensor packed = randn({2, queries, 3, 3 * 128}, dtype);
        Tensor q = packed.narrow(3, 0, 128), k = randn({2, keys, 3, 128}, dtype), v = randn({2, keys, 3, 128}, dtype);
        for (const Tensor& bias : {Tensor(), randn({keys})}) {
          auto got = cuda::attention(q, k, v, 0.09, bias);
          ASSERT_TRUE(got);
          EXPECT_LT(relative_rms(*got, reference::attention(wide(q), wide(k), wide(v), 0.09, wide(bias))),
                    dtype == at::kHalf ? 4e-4 : 2.5e-3);
        }
      }
    }
  }
}

TEST_F(AttentionGpu, EveryBackEndThatIsChosenIsRight) {
  const auto context = make_context({}, at::Device(at::kCUDA, 0));
  Tensor q = randn({1, 1560, 40, 128}, at::kBFloat16), k = randn({1, 1560, 40, 128}, at::kBFloat16),
         v = randn({1, 1560, 40, 128}, at::kBFloat16);
  AttentionSelector& selector = *context->attention();
  for (const std::string name : {"cudnn", "flash", "efficient", "mma", "reference", ""}) {
    selector.pin(name);
    Tensor got = attention(q, k, v, 0.09, {}, *context);
    EXPECT_LE(sampled_error(got, q, k, v, 0.09, {}), AttentionSelector::bound(at::kBFloat16)) << name;
    const auto ran = selector.choices();
    ASSERT_EQ(ran.size(), 1u);
    if (!name.empty()) {
      EXPECT_EQ(ran.begin()->second, name) << selector.report()[0];
    }
  }
  for (const std::string& line : selector.report()) RecordProperty("choice", line);
}

TEST_F(AttentionGpu, SkipSoftmaxIsTheReferences) {
  expect_skipping(Instructions::Mma);
}

TEST_F(AttentionGpu, TheLongestTailOf720p) {
  // 75,600 = 590 * 128 + 80 queries; one head, checked on sampled rows.
  Tensor q = randn({1, 75600, 1, 128}, at::kBFloat16), k = randn({1, 75600, 1, 128}, at::kBFloat16),
         v = randn({1, 75600, 1, 128}, at::kBFloat16);
  auto got = cuda::attention(q, k, v, 0.09, {});
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->isnan().any().item<bool>());
  EXPECT_LE(sampled_error(*got, q, k, v, 0.09, {}), 2.5e-3);
}

}  // namespace
}  // namespace wan::kernels
