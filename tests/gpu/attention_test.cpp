// Every attention back end on a GPU against the reference in float64, and the choice among them.
#include "kernels/attention/attention.h"

#include "kernels/attention/selector.h"
#include "kernels/op/cuda.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

class AttentionGpu : public Gpu {
 protected:
  void TearDown() override {
    if constexpr (kFusedBuilt) {
      if (at::hasCUDA()) attention_selector().pin("");
    }
    Gpu::TearDown();
  }
};

TEST_F(AttentionGpu, OurKernelAtEveryLength) {
  if constexpr (kFusedBuilt) {
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
}

TEST_F(AttentionGpu, EveryBackEndThatIsChosenIsRight) {
  if constexpr (kFusedBuilt) {
    Tensor q = randn({1, 1560, 40, 128}, at::kBFloat16), k = randn({1, 1560, 40, 128}, at::kBFloat16),
           v = randn({1, 1560, 40, 128}, at::kBFloat16);
    for (const char* name : {"cudnn", "flash", "efficient", "mma", "reference", ""}) {
      attention_selector().pin(name);
      Tensor got = attention(q, k, v, 0.09);
      EXPECT_LE(sampled_error(got, q, k, v, 0.09, {}), AttentionSelector::bound(at::kBFloat16)) << name;
    }
    for (const std::string& line : attention_selector().report()) RecordProperty("choice", line);
  }
}

TEST_F(AttentionGpu, TheLongestTailOf720p) {
  if constexpr (kFusedBuilt) {
    // 75,600 = 590 * 128 + 80 queries; one head, checked on sampled rows.
    Tensor q = randn({1, 75600, 1, 128}, at::kBFloat16), k = randn({1, 75600, 1, 128}, at::kBFloat16),
           v = randn({1, 75600, 1, 128}, at::kBFloat16);
    auto got = cuda::attention(q, k, v, 0.09, {});
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->isnan().any().item<bool>());
    EXPECT_LE(sampled_error(*got, q, k, v, 0.09, {}), 2.5e-3);
  }
}

}  // namespace
}  // namespace wan::kernels
