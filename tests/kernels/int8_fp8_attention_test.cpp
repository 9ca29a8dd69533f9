// Attention with 8-bit values as well: codes and kernel, executed through the shim with emulated e4m3 products, against
// the same quantisation in ATen; and the error of the whole against float64.
#include "kernels/attention/int8_fp8_attention_sm89.cuh"

#include "kernels/attention/int8_attention_sm90.cuh"
#include "tests/kernels/int8_heads.h"

namespace wan::kernels {
namespace {

// A row that is one value shows e4m3's 3 bits of mantissa, 2.6e-2 on average; a mean of many values does not.
constexpr double kDiffuse = 5e-3, kPeaked = 3.5e-2;
constexpr double kLogitFactor = kScale * 1.4426950408889634;
constexpr Sums kSums[] = {Sums::Float, Sums::Half};

/// A kernel.
struct Way {
  Instructions instructions;
  Sums sums;
};
constexpr Way kMmaFloat = {Instructions::Mma, Sums::Float}, kMmaHalf = {Instructions::Mma, Sums::Half},
              kWgmma = {Instructions::Wgmma, Sums::Float};

const char* name_of(Sums sums) {
  return sums == Sums::Half ? "half sums" : "float sums";
}

/// Of queries and keys in codes, and values whose codes go up to `largest_code`.
Tensor run_attention(const QuantisedHeads& q, const QuantisedHeads& k, const Tensor& v, const Way& way,
                     float largest_code, simt::Order order = simt::Order::Forward) {
  const Tensor codes = run_quantise_values(v, largest_code, order), scale = value_scales(v, largest_code).scale;
  Tensor out = poisoned({v.size(0), q.codes.size(2), v.size(2), kWidth}, v.scalar_type());
  Int8AttentionArguments a = arguments_of(q, k, v, out);
  a.v_codes = codes.const_data_ptr<uint8_t>();
  a.v_scale = floats(scale);
  const simt::HostRunner run{order};
  EXPECT_EQ(way.instructions == Instructions::Mma
                ? int8_fp8_attention::run_int8_fp8_attention(a, element_of(v), way.sums, run)
                : int8_attention_sm90::run_int8_attention_sm90(a, element_of(v), simt::sm90::HostMaps{}, run),
            cudaSuccess);
  return out;
}

Tensor run_whole(const Heads& x, const Way& way, double factor = kLogitFactor,
                 simt::Order order = simt::Order::Forward) {
  const QuantisedHeads q = run_quantise_heads(x.q, {}, factor, order);
  const QuantisedHeads k = run_quantise_heads(x.k, centre_of(x.k), 1, order);
  return run_attention(q, k, x.v, way, float8_range(way.sums).value, order);
}

Tensor simulated(const Heads& x, Sums sums) {
  return reference::attention_int8(reference::quantise_queries(x.q, kLogitFactor),
                                   reference::quantise_keys(x.k, centre_of(x.k)), x.v, Values::Float8, sums);
}

/// Codes of 127 under one scale: every logit is the same.
QuantisedHeads equal_heads(int64_t tokens, int64_t scales, double scale) {
  return {at::full({1, 1, tokens, kWidth}, 127, at::kChar), at::full({1, 1, scales}, scale, at::kFloat)};
}

/// A sign for each channel, one value for all keys: every code is the largest, and so is every weight.
Tensor largest_values() {
  Tensor v = at::full({1, 300, 1, kWidth}, 3, at::kBFloat16);
  v.narrow(3, 40, 50).neg_();
  return v;
}

/// The attention of 20 queries to them, where the logits are 127^2 * 128 * factor.
Tensor run_largest(const Way& way, float largest_code, double factor = 0x1p-20,
                   simt::Order order = simt::Order::Forward) {
  return run_attention(equal_heads(20, 20, factor), equal_heads(300, 3, 1), largest_values(), way, largest_code, order);
}

TEST(QuantiseValues, KernelHasTheReferencesCodesInTheOrderOfItsProduct) {
  for (int64_t tokens : {1, 31, 127, 129, 300}) {
    Heads x = gaussian(2, tokens, 2);
    x.v.select(3, 5).zero_();  // a channel of zeros
    for (Sums sums : kSums) {
      const float largest = float8_range(sums).value;
      const Tensor want = reference::quantise_values(x.v, largest).codes.view(at::kByte).permute({0, 2, 3, 1});
      for (simt::Order order : kOrders) {
        const Tensor codes = run_quantise_values(x.v, largest, order);
        for (int64_t at = 0; at < 64 * codes.size(2); ++at) {
          const int64_t key = at / 128 * 128 + quantise_values::key_of_slot(int(at % 128));
          const Tensor got = codes.select(2, at / 64).select(3, at % 64);
          EXPECT_TRUE(key < tokens ? got.equal(want.select(3, key)) : got.eq(0).all().item<bool>())
              << name_of(sums) << " " << tokens << " " << at;
        }
      }
    }
  }
}

TEST(QuantiseValues, ABrokenChannelStaysBroken) {
  Tensor v = at::ones({1, 4, 1, kWidth}, at::kBFloat16);
  v[0][2][0][7] = std::numeric_limits<double>::quiet_NaN();
  v[0][1][0][8] = std::numeric_limits<double>::infinity();
  const Tensor out = attention_int8(v.nan_to_num(1, 1), v.nan_to_num(1, 1), v, kScale, Values::Float8);
  const Tensor finite = at::isfinite(out[0][0][0]);
  EXPECT_EQ(finite.sum().item<int64_t>(), kWidth - 2);
  EXPECT_FALSE(finite[7].item<bool>() || finite[8].item<bool>());
}

TEST(Int8Fp8Attention, TheReferenceIsWithinTheContract) {
  Heads x = gaussian(1, 1500, 2);
  Heads peaked = {x.q, x.q, x.v};
  const Tensor diffuse = wanted(x), sharp = wanted(peaked);
  const double plain = relative_rms(attention_int8(x.q, x.k, x.v, kScale), diffuse);
  for (Sums sums : kSums) {
    SCOPED_TRACE(name_of(sums));
    const double error = relative_rms(simulated(x, sums), diffuse);
    EXPECT_LT(error, kDiffuse);
    EXPECT_GT(error, plain);
    EXPECT_LT(relative_rms(simulated(peaked, sums), sharp), kPeaked);
  }
  EXPECT_TRUE(attention_int8(x.q, x.k, x.v, kScale, Values::Float8).equal(simulated(x, Sums::Float)));
}

TEST(Int8Fp8Attention, OneValueAHundredTimesTheOthersIsWithinTheContract) {
  // Beside it, with half sums, most codes of its channel are subnormal.
  Heads x = gaussian(1, 1500, 1);
  x.v[0][700].fill_(100);
  Heads peaked = {x.q, x.q, x.v};
  const Tensor kept = at::cat({at::arange(700), at::arange(701, 1500)});
  for (Sums sums : kSums) {
    SCOPED_TRACE(name_of(sums));
    EXPECT_LT(relative_rms(simulated(x, sums), wanted(x)), kDiffuse);
    EXPECT_LT(relative_rms(simulated(peaked, sums).index_select(1, kept), wanted(peaked).index_select(1, kept)),
              kPeaked);
  }
}

class Int8Fp8AttentionKernel : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Int8Fp8AttentionKernel, testing::Values(kMmaFloat, kMmaHalf, kWgmma),
                         [](const auto& info) {
                           return info.param.instructions == Instructions::Wgmma ? "Wgmma"
                                  : info.param.sums == Sums::Half                ? "MmaHalfSums"
                                                                                 : "Mma";
                         });

TEST_P(Int8Fp8AttentionKernel, EqualsTheSimulationAtEveryTail) {
  for (int64_t tokens : {1, 7, 63, 64, 65, 127, 128, 129, 193, 520}) {
    if (tokens > kThreeTiles && GetParam().instructions == Instructions::Mma) continue;
    SCOPED_TRACE(testing::Message() << tokens << " tokens");
    Heads x = gaussian(1, tokens, tokens % 64 == 1 ? 2 : 1);
    const Tensor out = run_whole(x, GetParam()), expected = simulated(x, GetParam().sums);
    // Weights are rounded under another maximum, each by up to 2^-4; the more of them, the less it shows.
    EXPECT_LT(relative_rms(out, expected), tokens < 63 ? 2e-2 : 6e-3);
    EXPECT_LT(relative_rms(out, wanted(x)), 1.05 * relative_rms(expected, wanted(x)) + 5e-4);
    EXPECT_LT(relative_rms(out, wanted(x)), kPeaked);
  }
}

TEST_P(Int8Fp8AttentionKernel, OtherLengthsBatchAndHalfInBothOrders) {
  at::manual_seed(2);
  Heads x = gaussian(2, GetParam().instructions == Instructions::Mma ? 150 : 600, 2, at::kHalf);
  x.q = x.q.narrow(1, 0, 20);
  const Tensor expected = simulated(x, GetParam().sums);
  for (simt::Order order : orders_of(GetParam().instructions))
    EXPECT_LT(relative_rms(run_whole(x, GetParam(), kLogitFactor, order), expected), 6e-3);
}

TEST_P(Int8Fp8AttentionKernel, PeakedRowsAreTheValuesCodes) {
  // Every query meets itself and sees nothing else: what comes out is the code of its value.
  Heads x = gaussian(1, 130, 1);
  x.k = x.q;
  const QuantisedHeads codes = reference::quantise_values(x.v, float8_range(GetParam().sums).value);
  const Tensor want = codes.codes.to(at::kFloat) * codes.scale.unsqueeze(1);
  EXPECT_LT(relative_rms(run_whole(x, GetParam(), 40 * kLogitFactor), want), 2e-3);  // bfloat16
}

TEST_P(Int8Fp8AttentionKernel, EqualKeysAreAPlainMean) {
  Heads x = gaussian(1, 130, 1);
  x.k = x.k.narrow(1, 0, 1).expand({1, 130, 1, kWidth});
  EXPECT_LT(relative_rms(run_whole(x, GetParam()), wanted(x)), kDiffuse);
}

TEST_P(Int8Fp8AttentionKernel, HoldsTheLargestWeightsAndValues) {
  const Tensor want = largest_values().narrow(1, 0, 20);
  for (simt::Order order : orders_of(GetParam().instructions))
    EXPECT_TRUE(run_largest(GetParam(), float8_range(GetParam().sums).value, 0x1p-20, order).equal(want));
}

TEST(Int8Fp8AttentionMma, HalfSumsOverflowFromTheNextCodeOn) {
  for (float larger : {2.5f, 448.0f}) EXPECT_FALSE(at::isfinite(run_largest(kMmaHalf, larger)).any().item<bool>());
}

TEST(Int8Fp8AttentionMma, HalfSumsHoldWhateverTheLogitsRoundTo) {
  // Logits beyond 400,000 lose their fraction, and weights come out larger than the largest: packing cuts them off.
  for (double factor : {0.2, 0.45, 0.7, 0.95, 1.3})
    EXPECT_TRUE(at::isfinite(run_largest(kMmaHalf, float8_range(Sums::Half).value, factor)).all().item<bool>())
        << factor;
}

}  // namespace
}  // namespace wan::kernels
