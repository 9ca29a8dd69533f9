// Attention with 8-bit queries and keys: codes and kernel, executed through the shim, against the same quantisation in
// ATen; and the error of the whole against float64.
#include "kernels/int8_attention.h"

#include <cmath>

#include "kernels/attention.h"
#include "kernels/int8_attention_mma.cuh"
#include "kernels/quantise_heads.cuh"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

constexpr int64_t kWidth = kAttentionHeadDim;
constexpr double kScale = 0.08838834764831845;  // 1 / sqrt(128)
// bfloat16 rounding of the result is 1.66e-3; 8-bit logits add 0.5e-3 to 1.4e-3, offsets of the keys a little more.
constexpr double kContract = 3e-3, kContractWithOffsets = 4e-3;
// The contract is for rows that are made of something: values with a common part, or a few keys. Where 1500 independent
// values of mean 0 cancel, the result is a thirtieth of them and its relative error is that of the logits, which no
// kernel can better: steps of 2.7 / 127 in q and 4 / 127 in k are 1.1e-2 when rounded.
constexpr double kCancelling = 1.25e-2;

AttentionArguments::Strided strided_view(const Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

Element element_of(const Tensor& x) {
  return x.scalar_type() == at::kHalf ? Element::Half : Element::BFloat16;
}

Tensor centre_of(const Tensor& k) {
  return k.mean(1, false, at::kFloat);
}

QuantisedHeads run_quantise_heads(const Tensor& x, const Tensor& centre, double factor, simt::Order order) {
  const int64_t batch = x.size(0), tokens = x.size(1), heads = x.size(2);
  QuantisedHeads out = {at::full({batch, heads, tokens, kWidth}, -128, at::kChar),
                        poisoned({batch, heads, centre.defined() ? (tokens + 127) / 128 : tokens}, at::kFloat)};
  const QuantiseHeadsArguments a{strided_view(x),
                                 floats(centre),
                                 out.codes.data_ptr<int8_t>(),
                                 out.scale.data_ptr<float>(),
                                 int(batch),
                                 int(heads),
                                 int(tokens),
                                 float(factor)};
  quantise_heads::run_quantise_heads(a, element_of(x), simt::HostRunner{order});
  return out;
}

Tensor run_attention(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v,
                     simt::Order order = simt::Order::Forward) {
  Tensor out = poisoned({v.size(0), q.codes.size(2), v.size(2), kWidth}, v.scalar_type());
  const Int8AttentionArguments a{q.codes.const_data_ptr<int8_t>(),
                                 k.codes.const_data_ptr<int8_t>(),
                                 floats(q.scale),
                                 floats(k.scale),
                                 strided_view(v),
                                 out.data_ptr(),
                                 int(v.size(0)),
                                 int(v.size(2)),
                                 int(q.codes.size(2)),
                                 int(v.size(1))};
  int8_attention_mma::run_int8_attention(a, element_of(v), simt::HostRunner{order});
  return out;
}

struct Heads {
  Tensor q, k, v;
};

/// Slices of one merged product, as in the transformer; values have the mean 1.
Heads gaussian(int64_t batch, int64_t tokens, int64_t heads, at::ScalarType dtype = at::kBFloat16) {
  at::manual_seed(tokens + heads);
  Tensor qkv = at::randn({batch, tokens, heads, 3 * kWidth});
  qkv.narrow(3, 2 * kWidth, kWidth).add_(1);
  qkv = qkv.to(dtype);
  return {qkv.narrow(3, 0, kWidth), qkv.narrow(3, kWidth, kWidth), qkv.narrow(3, 2 * kWidth, kWidth)};
}

Tensor wanted(const Heads& x, double scale = kScale) {
  return reference::attention(x.q.to(at::kDouble), x.k.to(at::kDouble), x.v.to(at::kDouble), scale);
}

/// The kernels' own way from 16 bits to 16 bits.
Tensor run_whole(const Heads& x, double scale = kScale, simt::Order order = simt::Order::Forward) {
  return run_attention(run_quantise_heads(x.q, {}, scale * 1.4426950408889634, order),
                       run_quantise_heads(x.k, centre_of(x.k), 1, order), x.v, order);
}

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

TEST(Int8AttentionMma, EqualsTheSimulationAtEveryTail) {
  for (int64_t tokens : {1, 7, 63, 64, 65, 127, 129, 193}) {
    SCOPED_TRACE(testing::Message() << tokens << " tokens");
    Heads x = gaussian(1, tokens, tokens % 64 == 1 ? 2 : 1);
    Tensor out = run_whole(x), simulated = attention_int8(x.q, x.k, x.v, kScale);
    EXPECT_LT(relative_rms(out, simulated), 2e-3);  // weights rounded under another maximum
    EXPECT_LT(relative_rms(out, wanted(x)), 1.05 * relative_rms(simulated, wanted(x)) + 1e-4);
    // A handful of keys does not average out.
    EXPECT_LT(relative_rms(out, wanted(x)), tokens < 63 ? kCancelling : kContract);
  }
}

TEST(Int8AttentionMma, OtherLengthsBatchAndHalfInBothOrders) {
  at::manual_seed(2);
  Heads x = gaussian(2, 150, 2, at::kHalf);
  x.q = x.q.narrow(1, 0, 20);
  const Tensor simulated = attention_int8(x.q, x.k, x.v, kScale);
  for (simt::Order order : kOrders) EXPECT_LT(relative_rms(run_whole(x, kScale, order), simulated), 5e-4);
}

TEST(Int8AttentionMma, WithoutRoundingItIsTheIntegersSoftmax) {
  // Values that are one key's number: the output is the weights themselves, in half, whose rounding is small.
  at::manual_seed(3);
  Heads x = gaussian(1, 128, 1, at::kHalf);
  x.v = at::eye(128, at::kHalf).view({1, 128, 1, 128}).contiguous();
  QuantisedHeads q = reference::quantise_queries(x.q, 0.1275), k = reference::quantise_keys(x.k, centre_of(x.k));
  EXPECT_LT(relative_rms(run_attention(q, k, x.v), reference::attention_int8(q, k, x.v)), 5e-4);
}

TEST(Int8AttentionMma, EqualKeysPeakedRowsAndZeroQueries) {
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
