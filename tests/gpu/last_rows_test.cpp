// 161 frames at 720p, the longest video that hosted endpoints take: 147,600 tokens, whose merged queries, keys and
// values are 2.3e9 elements. The last rows are compared, where an index of 32 bits would have gone round.
#include "kernels/attention/attention.h"

#include <c10/core/CachingDeviceAllocator.h>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/int8_attention.h"
#include "kernels/attention/selector.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/row_parts.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

constexpr int64_t kTokens = 147600, kDim = 5120, kHeads = 40;

class LastRowsGpu : public Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (IsSkipped()) return;
    constexpr double kNeeded = 24e9;
    const double free = double(c10::getDeviceAllocator(at::kCUDA)->getMemoryInfo(0).first);
    if (free < kNeeded) GTEST_SKIP() << "needs 24 GB of a card's memory, " << free / 1e9 << " are free";
  }
  static Tensor drawn(at::IntArrayRef shape) {
    return at::randn(shape, at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
  }
};

TEST_F(LastRowsGpu, OfTheMergedProduct) {
  ASSERT_LT(rows_at_once(kTokens, kDim, 3 * kDim), kTokens) << "one part would test nothing";
  const Tensor x = drawn({1, kTokens, kDim}), weight = drawn({3 * kDim, kDim}) * 0.02, bias = drawn({3 * kDim});
  const Tensor y = linear(x, weight, bias);
  for (int64_t row : {int64_t(0), kTokens / 2 - 1, kTokens / 2, kTokens - 1}) {
    const Tensor want = reference::linear(wide(x.narrow(1, row, 1)), wide(weight), wide(bias));
    EXPECT_LT(relative_rms(wide(y.narrow(1, row, 1)), want), 2.5e-3) << "row " << row;
  }
}

TEST_F(LastRowsGpu, OfAttentionOnSlicesOfTheMergedProduct) {
  const Tensor merged = drawn({1, kTokens, 3 * kDim});
  const auto heads = [&](int64_t part) { return merged.narrow(2, part * kDim, kDim).unflatten(2, {kHeads, 128}); };
  const Tensor q = heads(0), k = heads(1), v = heads(2);
  const auto own = cuda::attention(q, k, v, 0.09, {});
  ASSERT_TRUE(own);
  EXPECT_LE(sampled_error(*own, q, k, v, 0.09, {}), AttentionSelector::bound(at::kBFloat16));
  const auto context = make_context({}, at::Device(at::kCUDA, 0));
  for (const std::string name : {"cudnn", "flash", "efficient"}) {
    context->attention()->pin(name);
    const Tensor got = attention(q, k, v, 0.09, {}, *context);
    EXPECT_LE(sampled_error(got, q, k, v, 0.09, {}), AttentionSelector::bound(at::kBFloat16)) << name;
    if (name == "efficient") {
      EXPECT_NE(context->choices().begin()->second, name) << "its indices have 32 bits";
    }
  }
  for (Values values : {Values::Plain, Values::Float8}) {
    const Tensor got = attention_int8(q, k, v, 0.09, values, *context);
    EXPECT_LE(sampled_error(got, q, k, v, 0.09, {}), values == Values::Plain ? 2e-2 : 8e-2);
  }
}

}  // namespace
}  // namespace wan::kernels
