// Attention with 8-bit queries and keys: codes and kernel, executed through the shim, against the same quantisation in
// ATen; and the error of the whole against float64.
#include "kernels/attention/int8_attention_mma.cuh"
#include "kernels/attention/int8_attention_sm90.cuh"
#include "tests/kernels/int8_heads.h"

namespace wan::kernels {
namespace {

// bfloat16 rounding of the result is 1.66e-3; 8-bit logits add 0.5e-3 to 1.4e-3, offsets of the keys a little more.
constexpr double kContract = 3e-3, kContractWithOffsets = 4e-3;
// The contract is for rows that are made of something: values with a common part, or a few keys. Where 1500 independent
// values of mean 0 cancel, the result is a thirtieth of them and its relative error is that of the logits, which no
// kernel can better: steps of 2.7 / 127 in q and 4 / 127 in k are 1.1e-2 when rounded.
constexpr double kCancelling = 1.25e-2;

class Int8AttentionKernel : public testing::TestWithParam<Instructions> {
 protected:
  static Tensor run_attention(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                              simt::Order order = simt::Order::Forward) {
    Tensor out = poisoned({v.size(0), q.codes.size(2), v.size(2), kWidth}, v.scalar_type());
    Int8AttentionArguments a = arguments_of(q, k, v, out);
    a.v = strided_view(v);
    const simt::HostRunner run{order};
    EXPECT_EQ(GetParam() == Instructions::Mma
                  ? int8_attention_mma::run_int8_attention(a, element_of(v), run)
                  : int8_attention_sm90::run_int8_attention_sm90(a, element_of(v), simt::sm90::HostMaps{}, run),
              cudaSuccess);
    return out;
  }

  /// The kernels' own way from 16 bits to 16 bits.
  static Tensor run_whole(const Heads& x, double scale = kScale, simt::Order order = simt::Order::Forward) {
    return run_attention(run_quantise_heads(x.q, {}, scale * 1.4426950408889634, order),
                         run_quantise_heads(x.k, centre_of(x.k), 1, order), x.v, order);
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, Int8AttentionKernel, testing::Values(Instructions::Mma, Instructions::Wgmma),
                         name_of_instructions);

TEST(QuantiseHeads, KernelHasTheReferencesCodes) {
  for (int64_t tokens : {1, 127, 129, 300}) {
    for (at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
      Heads x = gaussian(2, tokens, 2, dtype);
      x.q.select(1, 0).zero_();
      for (simt::Order order : kOrders) {
        QuantisedHeads q = run_quantise_heads(x.q, {}, 0.1275, order);
        QuantisedHeads want_q = reference::quantise_queries(x.q, 0.1275);
        EXPECT_TRUE(q.codes.equal(want_q.codes) && q.scale.equal(want_q.scale)) << tokens;
        QuantisedHeads k = run_quantise_heads(x.k, centre_of(x.k), 1, order);
        QuantisedHeads want_k = reference::quantise_keys(x.k, centre_of(x.k));
        EXPECT_TRUE(k.codes.equal(want_k.codes) && k.scale.equal(want_k.scale)) << tokens;
      }
    }
  }
}

TEST(QuantiseHeads, ZerosHaveAPositiveScale) {
  Tensor zeros = at::zeros({1, 130, 1, kWidth}, at::kBFloat16);
  for (const QuantisedHeads& heads :
       {reference::quantise_queries(zeros, 0.1), reference::quantise_keys(zeros, at::zeros({1, 1, kWidth}))}) {
    EXPECT_EQ(heads.codes.abs().max().item<int>(), 0);
    EXPECT_GT(heads.scale.min().item<float>(), 0);
  }
}

TEST(Int8Attention, TheReferenceIsWithinTheContract) {
  Heads x = gaussian(1, 1500, 2);
  EXPECT_LT(relative_rms(attention_int8(x.q, x.k, x.v, kScale), wanted(x)), kContract);
  Heads peaked = {x.q, x.q, (x.v.to(at::kFloat) - 1).to(at::kBFloat16)};  // every query meets itself
  EXPECT_LT(relative_rms(attention_int8(peaked.q, peaked.k, peaked.v, kScale), wanted(peaked)), kContract);
  Heads cancelling = {x.q, x.k, peaked.v};
  EXPECT_LT(relative_rms(attention_int8(x.q, x.k, cancelling.v, kScale), wanted(cancelling)), kCancelling);
}

TEST(Int8Attention, TheCentreTakesTheKeysOffsetsAway) {
  Heads x = gaussian(1, 1500, 2);
  x.k = (x.k.to(at::kFloat) + 3 * at::randn({kWidth})).to(at::kBFloat16);  // three sigma of offset in every channel
  EXPECT_LT(relative_rms(attention_int8(x.q, x.k, x.v, kScale), wanted(x)), kContractWithOffsets);
  // Without it the same keys are coarse: seen where values cancel, so that nothing hides it.
  x.v = (x.v.to(at::kFloat) - 1).to(at::kBFloat16);
  QuantisedHeads coarse = reference::quantise_keys(x.k, at::zeros({1, 2, kWidth}));
  QuantisedHeads queries = reference::quantise_queries(x.q, kScale * 1.4426950408889634);
  EXPECT_LT(relative_rms(attention_int8(x.q, x.k, x.v, kScale), wanted(x)), kCancelling);
  EXPECT_GT(relative_rms(reference::attention_int8(queries, coarse, x.v), wanted(x)), 1.5 * kCancelling);
}

TEST_P(Int8AttentionKernel, EqualsTheSimulationAtEveryTail) {
  for (int64_t tokens : {1, 7, 63, 64, 65, 127, 128, 129, 193, 520}) {
    if (tokens > kThreeTiles && GetParam() == Instructions::Mma) continue;
    SCOPED_TRACE(testing::Message() << tokens << " tokens");
    Heads x = gaussian(1, tokens, tokens % 64 == 1 ? 2 : 1);
    Tensor out = run_whole(x), simulated = attention_int8(x.q, x.k, x.v, kScale);
    EXPECT_LT(relative_rms(out, simulated), 2e-3);  // weights rounded under another maximum
    EXPECT_LT(relative_rms(out, wanted(x)), 1.05 * relative_rms(simulated, wanted(x)) + 1e-4);
    // A handful of keys does not average out.
    EXPECT_LT(relative_rms(out, wanted(x)), tokens < 63 ? kCancelling : kContract);
  }
}

TEST_P(Int8AttentionKernel, OtherLengthsBatchAndHalfInBothOrders) {
  at::manual_seed(2);
  Heads x = gaussian(2, GetParam() == Instructions::Mma ? 150 : 600, 2, at::kHalf);
  x.q = x.q.narrow(1, 0, 20);
  const Tensor simulated = attention_int8(x.q, x.k, x.v, kScale);
  for (simt::Order order : orders_of(GetParam())) EXPECT_LT(relative_rms(run_whole(x, kScale, order), simulated), 5e-4);
}

TEST_P(Int8AttentionKernel, WithoutRoundingItIsTheIntegersSoftmax) {
  // Values that are one key's number: the output is the weights themselves, in half, whose rounding is small.
  at::manual_seed(3);
  Heads x = gaussian(1, 128, 1, at::kHalf);
  x.v = at::eye(128, at::kHalf).view({1, 128, 1, 128}).contiguous();
  QuantisedHeads q = reference::quantise_queries(x.q, 0.1275), k = reference::quantise_keys(x.k, centre_of(x.k));
  EXPECT_LT(relative_rms(run_attention(q, k, x.v), reference::attention_int8(q, k, x.v)), 5e-4);
}

TEST_P(Int8AttentionKernel, EqualKeysPeakedRowsAndZeroQueries) {
  Heads x = gaussian(1, 130, 1);
  x.k = x.k.narrow(1, 0, 1).expand({1, 130, 1, kWidth});  // the codes are zeros: a plain mean
  EXPECT_LT(relative_rms(run_whole(x), wanted(x)), kContract);
  x = gaussian(1, 130, 1);
  x.q.zero_();
  EXPECT_LT(relative_rms(run_whole(x), wanted(x)), kContract);
  x = gaussian(1, 130, 1);
  x.k = x.q;  // every query meets itself
  EXPECT_LT(relative_rms(run_whole(x, 0.5), wanted(x, 0.5)), kContract);
}

TEST(Int8Attention, RefusesOtherShapes) {
  Tensor x = at::zeros({1, 4, 1, kWidth}, at::kBFloat16);
  EXPECT_THROW(attention_int8(x, x.narrow(1, 0, 0), x.narrow(1, 0, 0), 1), c10::Error);
  EXPECT_THROW(attention_int8(x, x, x.to(at::kHalf), 1), c10::Error);
  EXPECT_THROW(attention_int8(x.narrow(3, 0, 64), x, x, 1), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
