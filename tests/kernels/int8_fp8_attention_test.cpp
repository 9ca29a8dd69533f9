// Attention with 8-bit values as well: codes and kernel, executed through the shim with emulated e4m3 products, against
// the same quantisation in ATen; and the error of the whole against float64.
#include "kernels/int8_fp8_attention_sm89.cuh"

#include "kernels/int8_attention_sm90.cuh"
#include "kernels/quantise_values_sm89.cuh"
#include "tests/kernels/int8_heads.h"

namespace wan::kernels {
namespace {

// A row that is one value shows e4m3's 3 bits of mantissa, 2.6e-2 on average; a mean of many values does not.
constexpr double kDiffuse = 5e-3, kPeaked = 3.5e-2;
constexpr double kLogitFactor = kScale * 1.4426950408889634;

Tensor run_quantise_values(const Tensor& v, simt::Order order) {
  const int64_t blocks = (v.size(1) + kInt8KeyBlock - 1) / kInt8KeyBlock;
  Tensor codes = at::full({v.size(0), v.size(2), 2 * blocks, kWidth, kAttentionKeyBlock}, 0x7f, at::kByte);  // NaN
  const Tensor inverse = value_scales(v).inverse;
  const QuantiseValuesArguments a{strided_view(v), floats(inverse), codes.data_ptr<uint8_t>(),
                                  int(v.size(0)),  int(v.size(2)),  int(v.size(1))};
  quantise_values::run_quantise_values(a, element_of(v), simt::HostRunner{order});
  return codes;
}

class Int8Fp8AttentionKernel : public testing::TestWithParam<Product> {
 protected:
  static Tensor run_whole(const Heads& x, double factor = kLogitFactor, simt::Order order = simt::Order::Forward) {
    const QuantisedHeads q = run_quantise_heads(x.q, {}, factor, order);
    const QuantisedHeads k = run_quantise_heads(x.k, centre_of(x.k), 1, order);
    const Tensor codes = run_quantise_values(x.v, order), scale = value_scales(x.v).scale;
    Tensor out = poisoned({x.v.size(0), x.q.size(1), x.v.size(2), kWidth}, x.v.scalar_type());
    Int8AttentionArguments a = arguments_of(q, k, x.v, out);
    a.v_codes = codes.const_data_ptr<uint8_t>();
    a.v_scale = floats(scale);
    const simt::HostRunner run{order};
    EXPECT_EQ(GetParam() == Product::Mma
                  ? int8_fp8_attention::run_int8_fp8_attention(a, element_of(x.v), run)
                  : int8_attention_sm90::run_int8_attention_sm90(a, element_of(x.v), simt::sm90::HostMaps{}, run),
              cudaSuccess);
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, Int8Fp8AttentionKernel, testing::Values(Product::Mma, Product::Wgmma),
                         name_of_product);

Tensor simulated(const Heads& x, double scale = kScale) {
  return attention_int8(x.q, x.k, x.v, scale, Values::Float8);
}

TEST(QuantiseValues, KernelHasTheReferencesCodesInTheOrderOfItsProduct) {
  for (int64_t tokens : {1, 31, 127, 129, 300}) {
    Heads x = gaussian(2, tokens, 2);
    x.v.select(3, 5).zero_();  // a channel of zeros
    const Tensor want = reference::quantise_values(x.v).codes.view(at::kByte).permute({0, 2, 3, 1}).contiguous();
    for (simt::Order order : kOrders) {
      const Tensor codes = run_quantise_values(x.v, order);
      for (int64_t at = 0; at < 64 * codes.size(2); ++at) {
        const int64_t key = at / 128 * 128 + quantise_values::key_of_slot(int(at % 128));
        const Tensor got = codes.select(2, at / 64).select(3, at % 64);
        EXPECT_TRUE(key < tokens ? got.equal(want.select(3, key)) : got.eq(0).all().item<bool>())
            << tokens << " " << at;
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
  EXPECT_LT(relative_rms(simulated(x), wanted(x)), kDiffuse);
  EXPECT_GT(relative_rms(simulated(x), wanted(x)), relative_rms(attention_int8(x.q, x.k, x.v, kScale), wanted(x)));
  Heads peaked = {x.q, x.q, x.v};
  EXPECT_LT(relative_rms(simulated(peaked), wanted(peaked)), kPeaked);
}

TEST_P(Int8Fp8AttentionKernel, EqualsTheSimulationAtEveryTail) {
  for (int64_t tokens : {1, 7, 63, 64, 65, 127, 128, 129, 193, 520}) {
    if (tokens > kThreeTiles && GetParam() == Product::Mma) continue;
    SCOPED_TRACE(testing::Message() << tokens << " tokens");
    Heads x = gaussian(1, tokens, tokens % 64 == 1 ? 2 : 1);
    const Tensor out = run_whole(x), expected = simulated(x);
    // Weights are rounded under another maximum, each by up to 2^-4; the more of them, the less it shows.
    EXPECT_LT(relative_rms(out, expected), tokens < 63 ? 2e-2 : 6e-3);
    EXPECT_LT(relative_rms(out, wanted(x)), 1.05 * relative_rms(expected, wanted(x)) + 5e-4);
    EXPECT_LT(relative_rms(out, wanted(x)), kPeaked);
  }
}

TEST_P(Int8Fp8AttentionKernel, OtherLengthsBatchAndHalfInBothOrders) {
  at::manual_seed(2);
  Heads x = gaussian(2, GetParam() == Product::Mma ? 150 : 600, 2, at::kHalf);
  x.q = x.q.narrow(1, 0, 20);
  const Tensor expected = simulated(x);
  for (simt::Order order : kOrders) EXPECT_LT(relative_rms(run_whole(x, kLogitFactor, order), expected), 6e-3);
}

TEST_P(Int8Fp8AttentionKernel, PeakedRowsAreTheValuesCodes) {
  // Every query meets itself and sees nothing else: what comes out is the code of its value.
  Heads x = gaussian(1, 130, 1);
  x.k = x.q;
  const QuantisedHeads codes = reference::quantise_values(x.v);
  const Tensor want = codes.codes.to(at::kFloat) * codes.scale.unsqueeze(1);
  EXPECT_LT(relative_rms(run_whole(x, 40 * kLogitFactor), want), 2e-3);  // bfloat16
}

TEST_P(Int8Fp8AttentionKernel, EqualKeysAreAPlainMean) {
  Heads x = gaussian(1, 130, 1);
  x.k = x.k.narrow(1, 0, 1).expand({1, 130, 1, kWidth});
  EXPECT_LT(relative_rms(run_whole(x), wanted(x)), kDiffuse);
}

}  // namespace
}  // namespace wan::kernels
