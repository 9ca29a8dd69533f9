// What the tests of Skip-Softmax on a GPU share: the kernels with mma.sync and with wgmma run in programs of their own.
#pragma once

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/int8_attention_cuda.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {

/// Heads on the GPU whose keys [first, first + count) are nearly nothing.
struct SkippableHeads {
  Tensor q, k, v;

  SkippableHeads(int64_t tokens, int64_t first, int64_t count) {
    const auto draw = [&] { return at::randn({1, tokens, 3, 128}); };
    q = draw();
    k = draw();
    k.narrow(1, first, count).mul_(0.01);
    v = draw() + 1;
    for (Tensor* x : {&q, &k, &v}) *x = x->to(at::kBFloat16).to(at::kCUDA);
  }
};

/// 16 bits against the reference in float32; where nothing is left out, against the kernel without the rule.
inline void expect_skipping(Instructions instructions) {
  constexpr double kScale = 0.3;
  for (int64_t tokens : {200, 1560}) {
    const SkippableHeads x(tokens, 64, 128);
    for (double lambda : {1e-30, 0.01, 0.5}) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, lambda " << lambda);
      SkipSoftmax skip(lambda, x.q.device()), wanted(lambda, x.q.device());
      const auto got = cuda::attention(x.q, x.k, x.v, kScale, {}, instructions, default_context(), &skip);
      ASSERT_TRUE(got);
      const Tensor want = reference::attention_skipping(x.q.to(at::kFloat), x.k.to(at::kFloat), x.v.to(at::kFloat),
                                                        kScale, wanted, skip_block(instructions));
      EXPECT_EQ(skip.count().all, wanted.count().all);
      // Sums in another order may move a block over the edge, not many.
      EXPECT_NEAR(double(skip.count().skipped), double(wanted.count().skipped), 1 + 1e-3 * double(skip.count().all));
      EXPECT_LT(relative_rms(*got, want), 5e-3);
      if (lambda < 1e-20) {
        EXPECT_TRUE(got->equal(*cuda::attention(x.q, x.k, x.v, kScale, {}, instructions)));
      }
    }
  }
}

/// 8-bit queries and keys: the logits are integers, so the blocks are the reference's.
inline void expect_skipping_int8(Instructions instructions) {
  const SkippableHeads x(600, 128, 256);
  const QuantisedHeads q = quantise_queries(x.q, 0.4), k = quantise_keys(x.k, x.k.mean(1, false, at::kFloat));
  for (Values values : {Values::Plain, Values::Float8}) {
    SkipSoftmax skip(0.1, x.q.device()), wanted(0.1, x.q.device());
    const auto got = cuda::attention_int8(q, k, x.v, {values, Sums::Float, instructions, &skip});
    if (!got && values == Values::Float8) continue;  // older than sm_89
    ASSERT_TRUE(got);
    const Tensor want = reference::attention_int8(q, k, x.v, values, Sums::Float, &wanted, skip_block(instructions));
    EXPECT_GT(skip.count().skipped, 0);
    EXPECT_EQ(skip.count(), wanted.count());
    EXPECT_LT(relative_rms(*got, want), values == Values::Float8 ? 2e-2 : 4e-3);
  }
}

}  // namespace wan::kernels
