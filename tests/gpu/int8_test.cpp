// 8-bit products and attention on a GPU: codes and integer sums are those of the CPU, the rest within one rounding.
#include "kernels/linear/int8.h"

#include "kernels/attention/int8_attention_cuda.h"
#include "kernels/norm/norm_cuda.h"
#include "tests/gpu/int8.h"
#include "tests/gpu/skip_softmax.h"

namespace wan::kernels {
namespace {

class Int8Gpu : public Gpu {};

TEST_F(Int8Gpu, RowsHaveTheCodesOfTheCpu) {
  for (int64_t channels : {128, 5120, 13824}) {
    for (at::ScalarType dtype : kDtypes) {
      const Tensor x = randn({65, channels}, dtype);
      const auto got = cuda::quantise_rows(x);
      ASSERT_TRUE(got);
      const QuantisedRows want = quantise_rows(x.cpu());
      EXPECT_TRUE(got->codes.cpu().equal(want.codes)) << channels << " " << dtype;
      EXPECT_TRUE(got->scale.cpu().equal(want.scale)) << channels << " " << dtype;
    }
  }
}

/// Sums in another order move a code that lies beside a half: by one, and one in a thousand.
void expect_near(const QuantisedRows& got, const QuantisedRows& want) {
  const Tensor steps = (got.codes.cpu().to(at::kInt) - want.codes.to(at::kInt)).abs();
  EXPECT_LE(steps.max().item<int>(), 1);
  EXPECT_LE(steps.sum().item<int64_t>(), 1 + steps.numel() / 1000);
  EXPECT_LT(relative_rms(got.scale.cpu(), want.scale), 1e-5);
}

constexpr double kEps = 1e-6;

TEST_F(Int8Gpu, NormsEndInTheCodesOfTheCpu) {
  for (int64_t channels : {128, 1536, 5120}) {
    const Tensor shift = randn({2, channels}), scale = randn({2, channels}), gate = randn({2, channels});
    // Modulated and without a gate before a feed-forward; affine behind a gate of two segments in speech.
    const NextNorm modulated{{}, {}, shift, scale, kEps}, affine{shift[0], scale[0], {}, {}, kEps};
    const NextNorm modulated_there{{}, {}, shift.cpu(), scale.cpu(), kEps};
    const NextNorm affine_there{shift[0].cpu(), scale[0].cpu(), {}, {}, kEps};
    for (int64_t length : kLengths) {
      SCOPED_TRACE(testing::Message() << length << " x " << channels);
      const Segments ends = {length / 2, length};
      const Tensor x = randn({1, length, channels});
      ASSERT_TRUE(cuda::modulated_layer_norm_int8(x, shift, scale, ends, kEps));
      expect_near(modulated_layer_norm_int8(x, shift, scale, ends, kEps),
                  modulated_layer_norm_int8(x.cpu(), shift.cpu(), scale.cpu(), ends, kEps));
      for (at::ScalarType dtype : kDtypes) {
        const Tensor y = randn({1, length, channels}, dtype);
        ASSERT_TRUE(cuda::gated_residual_norm_int8_(x.clone(), y, gate, affine, ends));
        Tensor sum = x.clone(), want = x.cpu();
        expect_near(gated_residual_norm_int8_(sum, y, gate, affine, ends),
                    gated_residual_norm_int8_(want, y.cpu(), gate.cpu(), affine_there, ends));
        expect_near(gated_residual_norm_int8_(sum, y, {}, modulated, ends),
                    gated_residual_norm_int8_(want, y.cpu(), {}, modulated_there, ends));
        EXPECT_LT(relative_rms(sum.cpu(), want), 1e-6);
      }
    }
  }
}

TEST_F(Int8Gpu, NormsKeepOddRowsApart) {
  enum { kConstant, kFar, kBroken, kUsual, kRows };
  Tensor x = randn({1, kRows, 5120});
  x[0][kConstant].fill_(3);
  x[0][kFar] += 1e4;
  x[0][kBroken][7] = std::numeric_limits<float>::quiet_NaN();
  const Tensor zeros = at::zeros({1, 5120}, x.options());
  ASSERT_TRUE(cuda::modulated_layer_norm_int8(x, zeros, zeros, {kRows}, kEps));
  const QuantisedRows got = modulated_layer_norm_int8(x, zeros, zeros, {kRows}, kEps);
  const Tensor want = rotate(at::layer_norm(wide(x)[0], {5120}, {}, {}, kEps)),
               values = got.codes * got.scale.unsqueeze(-1);
  for (int row : {kFar, kUsual}) EXPECT_LT(relative_rms(values[0][row], want[row]), 1.4e-2) << row;  // half a step
  EXPECT_EQ(got.scale[0][kConstant].item<float>(), 0);
  EXPECT_FALSE(got.codes[0][kConstant].any().item<bool>());
  EXPECT_TRUE(got.scale[0][kBroken].isnan().item<bool>());
}

TEST_F(Int8Gpu, TheProductIsTheIntegers) {
  for (auto [channels, depth] : {std::pair<int64_t, int64_t>{15360, 5120}, {5120, 13824}, {130, 128}}) {
    const QuantisedRows weight = quantise_rows((randn({channels, depth}) * 0.02).to(at::kBFloat16));
    const Tensor bias = randn({channels});
    for (int64_t length : kLengths) {
      SCOPED_TRACE(testing::Message() << length << " x " << depth << " to " << channels);
      expect_integers(quantise_rows(randn({length, depth}, at::kBFloat16)), weight, bias, Instructions::Mma);
    }
  }
}

TEST_F(Int8Gpu, AttentionIsTheSimulation) {
  const double scale = 1 / std::sqrt(128.0), log2e = 1.4426950408889634;
  for (int64_t length : kLengths) {
    const Tensor q = randn({1, length, 3, 128}, at::kBFloat16), k = randn({1, length, 3, 128}, at::kBFloat16);
    const Tensor v = (randn({1, length, 3, 128}) + 1).to(at::kBFloat16);
    const QuantisedHeads queries = quantise_queries(q, scale * log2e);
    const QuantisedHeads keys = quantise_keys(k, k.mean(1, false, at::kFloat));
    const QuantisedHeads cpu_queries = quantise_queries(q.cpu(), scale * log2e);
    const QuantisedHeads cpu_keys = quantise_keys(k.cpu(), k.cpu().mean(1, false, at::kFloat));
    for (auto [values, sums] :
         {std::pair{Values::Plain, Sums::Float}, {Values::Float8, Sums::Float}, {Values::Float8, Sums::Half}}) {
      if (values == Values::Float8 && cuda::architecture(q.device()) < 89) continue;
      // The kernel itself: the operation would leave 8-bit values to the GPUs that gain by them.
      const auto got = cuda::attention_int8(queries, keys, v, {values, sums});
      ASSERT_TRUE(got);
      const Tensor want = reference::attention_int8(cpu_queries, cpu_keys, v.cpu(), values, sums);
      EXPECT_LT(relative_rms(got->cpu(), want), values == Values::Plain ? 3e-3 : 2e-2) << length;
    }
  }
}

/// Whatever the card does inside: every weight and every code is the largest, and the sum is below 65504.
TEST_F(Int8Gpu, HalfSumsHoldTheLargestWeightsAndValues) {
  const at::TensorOptions here = randn({1}).options();
  const QuantisedHeads queries = {at::full({1, 1, 20, 128}, 127, here.dtype(at::kChar)),
                                  at::full({1, 1, 20}, 0x1p-20, here)};
  const QuantisedHeads keys = {at::full({1, 1, 1000, 128}, 127, here.dtype(at::kChar)), at::ones({1, 1, 8}, here)};
  const Tensor v = at::full({1, 1000, 1, 128}, -3, here.dtype(at::kBFloat16));
  if (cuda::architecture(v.device()) < 89) GTEST_SKIP() << "no 8-bit floats before sm_89";
  const auto got = cuda::attention_int8(queries, keys, v, {Values::Float8, Sums::Half});
  ASSERT_TRUE(got);
  EXPECT_LT(relative_rms(*got, v.narrow(1, 0, 20)), 4e-3);
}

TEST_F(Int8Gpu, SumsAreMeasuredWhereTheCardHasEightBitFloatsOfItsOwn) {
  const Tensor q = randn({1, 1560, 3, 128}, at::kBFloat16), k = randn({1, 1560, 3, 128}, at::kBFloat16);
  const Tensor v = (randn({1, 1560, 3, 128}) + 1).to(at::kBFloat16);
  const double scale = 1 / std::sqrt(128.0);
  for (bool off : {false, true}) {
    const Options options = {.attention_off = off ? std::vector<std::string>{kHalfSums} : std::vector<std::string>{}};
    const auto context = make_context(options, q.device());
    ASSERT_EQ(context->sums() != nullptr, cuda::has_float8_mma(q.device()));
    const Tensor got = attention_int8(q, k, v, scale, Values::Float8, *context);
    EXPECT_LT(relative_rms(got, reference::attention(wide(q), wide(k), wide(v), scale)), 5e-3);
    if (!context->sums()) {
      EXPECT_TRUE(context->choices().empty()) << "float32 alone: nothing is chosen";
      continue;
    }
    const Choices choices = context->choices();
    ASSERT_EQ(choices.size(), 1u);
    const auto& [key, name] = *choices.begin();
    EXPECT_TRUE(key.starts_with(kEightBitSums)) << key;
    if (off) {
      EXPECT_EQ(name, kFloatSums);
    }
  }
}

TEST_F(Int8Gpu, SkipSoftmaxIsTheReferences) {
  expect_skipping_int8(Instructions::Mma);
}

}  // namespace
}  // namespace wan::kernels
