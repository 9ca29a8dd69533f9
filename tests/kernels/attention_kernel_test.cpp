// The tensor-core attentions, executed through the shim with emulated mma.sync and wgmma, against softmax attention in
// float64.
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_mma.cuh"
#include "kernels/attention/attention_sm90.cuh"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

// bfloat16 rounding of the result is 1.66e-3, of the weights 0.1e-3 more; half has three bits more.
constexpr double kBFloat16Tolerance = 2.5e-3, kHalfTolerance = 4e-4;
constexpr int64_t kWidth = kAttentionHeadDim;

AttentionArguments::Strided strided(const Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

Tensor run(Instructions instructions, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
           const Tensor& bias = {}, simt::Order order = simt::Order::Forward) {
  Tensor out = poisoned(q.sizes(), q.scalar_type());
  AttentionArguments a{};
  a.q = strided(q);
  a.k = strided(k);
  a.v = strided(v);
  a.bias = floats(bias);
  a.out = out.data_ptr();
  a.batch = int(q.size(0));
  a.heads = int(q.size(2));
  a.queries = int(q.size(1));
  a.keys = int(k.size(1));
  a.scale = float(scale);
  const Element element = q.scalar_type() == at::kHalf ? Element::Half : Element::BFloat16;
  const simt::HostRunner runner{order};
  EXPECT_EQ(instructions == Instructions::Mma
                ? attention_mma::run_attention(a, element, runner)
                : attention_sm90::run_attention_sm90(a, element, simt::sm90::HostMaps{}, runner),
            cudaSuccess);
  return out;
}

Tensor wanted(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias = {}) {
  return reference::attention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), scale,
                              bias.defined() ? bias.to(at::kDouble) : bias);
}

class AttentionKernel : public testing::TestWithParam<Instructions> {};
INSTANTIATE_TEST_SUITE_P(Kernels, AttentionKernel, testing::Values(Instructions::Mma, Instructions::Wgmma),
                         name_of_instructions);

TEST_P(AttentionKernel, SelfAttentionAtEveryTail) {
  for (int64_t length : {1, 7, 63, 64, 65, 127, 128, 129, 191, 193, 520}) {
    if (length > kThreeTiles && GetParam() == Instructions::Mma) continue;
    for (int64_t heads : {1, 3}) {
      if (heads == 3 && length % 64 != 1) continue;  // keeps the quick suite quick
      SCOPED_TRACE(testing::Message() << length << " tokens, " << heads << " heads");
      at::manual_seed(length);
      // q, k and v are slices of one merged product, as in the transformer.
      Tensor qkv = at::randn({1, length, heads, 3 * kWidth}).to(at::kBFloat16);
      Tensor q = qkv.narrow(3, 0, kWidth), k = qkv.narrow(3, kWidth, kWidth), v = qkv.narrow(3, 2 * kWidth, kWidth);
      double scale = 1 / std::sqrt(double(kWidth));
      for (simt::Order order : orders_of(GetParam())) {
        if (order != simt::Order::Forward && GetParam() == Instructions::Mma) continue;  // below
        EXPECT_LT(relative_rms(run(GetParam(), q, k, v, scale, {}, order), wanted(q, k, v, scale)), kBFloat16Tolerance);
      }
    }
  }
}

TEST_P(AttentionKernel, CrossAttentionInHalfWithBatchAndOtherLengths) {
  at::manual_seed(2);
  for (auto [queries, keys] : {std::pair{130, 17}, {5, 126}, {1, 130}}) {
    Tensor q = at::randn({2, queries, 2, kWidth}).to(at::kHalf), k = at::randn({2, keys, 2, kWidth}).to(at::kHalf);
    Tensor v = at::randn({2, keys, 2, kWidth}).to(at::kHalf);
    EXPECT_LT(relative_rms(run(GetParam(), q, k, v, 0.1), wanted(q, k, v, 0.1)), kHalfTolerance);
  }
}

TEST(AttentionMma, ALogitForEachKey) {
  at::manual_seed(3);
  Tensor q = at::randn({1, 9, 1, kWidth}).to(at::kBFloat16), k = at::randn({1, 130, 1, kWidth}).to(at::kBFloat16);
  Tensor v = at::randn({1, 130, 1, kWidth}).to(at::kBFloat16), bias = at::randn({130}) * 3;
  bias[129] = std::log(383.0);  // one key for 383 equal ones of the padded text
  bias.narrow(0, 0, 64).fill_(-std::numeric_limits<float>::infinity());  // a whole tile closed
  EXPECT_LT(relative_rms(run(Instructions::Mma, q, k, v, 0.09, bias), wanted(q, k, v, 0.09, bias)), kBFloat16Tolerance);
  EXPECT_EQ(max_abs_difference(
                run(Instructions::Mma, q, k, v, 0.09, at::full({130}, -std::numeric_limits<float>::infinity())),
                at::zeros(q.sizes())),
            0);
}

TEST_P(AttentionKernel, PeakedRowsAndGrowingMaximaInBothOrders) {
  at::manual_seed(4);
  // Key j is larger than all before it, so that the maximum moves in every tile; logits reach the hundreds.
  Tensor q = at::randn({1, 20, 1, kWidth}), k = at::randn({1, 200, 1, kWidth});
  k = k + q.narrow(1, 0, 1) * at::linspace(0, 1, 200).view({1, 200, 1, 1}) * 3;
  Tensor v = at::randn({1, 200, 1, kWidth}).to(at::kBFloat16);
  q = q.to(at::kBFloat16);
  k = k.to(at::kBFloat16);
  for (simt::Order order : orders_of(GetParam())) {
    EXPECT_LT(relative_rms(run(GetParam(), q, k, v, 0.5, {}, order), wanted(q, k, v, 0.5)), kBFloat16Tolerance);
  }
}

}  // namespace
}  // namespace wan::kernels
