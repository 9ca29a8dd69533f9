// Products of E4M3 codes: rounding of rows, the reference against sums in float64, and which weights and devices are taken.
#include "kernels/dequantise/fp8_product.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/allocations.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

/// [rows, columns] in E4M3: no scale, one for the matrix, or one a row.
CodedMatrix coded(int64_t rows, int64_t columns, int64_t scales) {
  const Tensor values = at::randn({rows, columns}) * 60;
  CodedMatrix matrix{.coding = &coding_of(Code::E4M3),
                     .columns = columns,
                     .codes = values.clamp(-448, 448).to(at::kFloat8_e4m3fn).view(at::kByte),
                     .scale_columns = columns};
  if (scales > 0) matrix.scale = at::rand({scales, 1}) * 0.01 + 0.001;
  matrix.scale_rows = scales == rows ? 1 : rows;
  return matrix;
}

Tensor values_of(const CodedMatrix& matrix) {
  return widen(matrix, 0, matrix.rows(), at::kFloat);
}

TEST(Fp8Rows, RoundToTheNearestCodeOfTheirOwnScale) {
  at::manual_seed(1);
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const Tensor x = (at::randn({40, 64}) * at::logspace(-3, 2, 40).unsqueeze(1)).to(dtype);
    const Fp8Rows rows = quantise_fp8_rows(x);
    EXPECT_EQ(rows.codes.scalar_type(), at::kFloat8_e4m3fn);
    const Tensor values = x.to(at::kFloat), back = widened(rows, at::kFloat);
    EXPECT_TRUE(is_close(rows.scale, values.abs().amax(1) / 448, 0));
    EXPECT_TRUE(at::equal(rows.codes.to(at::kFloat).abs().amax(1), at::full({40}, 448.0)));
    // Three bits behind the first: half of an eighth; below 2^-6 of the scale, half of 2^-9 of it.
    const Tensor bound = at::maximum(values.abs() / 16, rows.scale.unsqueeze(1) / 1024) * 1.0001;
    EXPECT_TRUE((back - values).abs().le(bound).all().item<bool>());
  }
}

TEST(Fp8Rows, ZerosStayZeroAndWhatIsNoNumberStaysNone) {
  Tensor x = at::ones({4, 16});
  x[1].zero_();
  x[2][3] = NAN;
  x[3][3] = INFINITY;
  const Tensor back = widened(quantise_fp8_rows(x), at::kFloat);
  EXPECT_TRUE(is_close(back.narrow(0, 0, 2), x.narrow(0, 0, 2), 1e-6));
  EXPECT_FALSE(back[2].isfinite().any().item<bool>());
  EXPECT_FALSE(back[3].isfinite().any().item<bool>());
  EXPECT_THROW(quantise_fp8_rows(x.to(at::kDouble)), c10::Error);
}

TEST(LinearFp8, IsTheProductOfTheCodes) {
  at::manual_seed(2);
  constexpr int64_t kIn = 96, kOut = 40;
  for (int64_t scales : {int64_t(0), int64_t(1), kOut})
    for (float factor : {1.0f, 0.5f})
      for (Activation activation : {Activation::None, Activation::GeluTanh}) {
        SCOPED_TRACE(testing::Message() << scales << " scales, factor " << factor);
        CodedMatrix weight = coded(kOut, kIn, scales);
        weight.factor = factor;
        const Tensor x = at::randn({2, 3, kIn}), bias = at::randn({kOut});
        const Fp8Rows rows = quantise_fp8_rows(x.view({6, kIn}));
        // Sums of codes first, and scales behind them, in float64: as tensor cores do it.
        Tensor want = at::matmul(rows.codes.to(at::kDouble), weight.codes.view(at::kFloat8_e4m3fn).to(at::kDouble).t());
        want = want * rows.scale.unsqueeze(1) * factor;
        if (scales) want = want * weight.scale.flatten();
        want = want + bias;
        if (activation == Activation::GeluTanh) want = at::gelu(want, "tanh");
        const Tensor got = linear_fp8(x, weight, bias, activation);
        EXPECT_EQ(got.sizes(), at::IntArrayRef({2, 3, kOut}));
        EXPECT_LT(relative_rms(got.view({6, kOut}), want), 1e-6);
        EXPECT_LT(relative_rms(linear_fp8(x.to(at::kBFloat16), weight, bias, activation), got), 4e-2);
      }
}

TEST(LinearFp8, RowsPassInBlocks) {
  at::manual_seed(3);
  const CodedMatrix weight = coded(16, 32, 16);
  const Tensor x = at::randn({2048 + 7, 32}), whole = linear_fp8(x, weight, {});
  for (int64_t row : {0, 2047, 2048, 2054})
    EXPECT_TRUE(is_close(whole.narrow(0, row, 1), linear_fp8(x.narrow(0, row, 1), weight, {}), 1e-5)) << row;
  EXPECT_EQ(linear_fp8(x.narrow(0, 0, 0), weight, {}).sizes(), at::IntArrayRef({0, 16}));
}

TEST(LinearFp8, WithoutTensorCoresTheWeightIsWidenedOnceForAllRows) {
  const CodedMatrix weight = coded(48, 160, 48);
  const auto widened = [&](int64_t rows) {
    const Tensor x = at::randn({rows, 160});
    const Allocations allocations;
    linear_fp8(x, weight, {});
    return allocations.count(48 * 160 * int64_t(sizeof(float)));
  };
  const int64_t once = widened(1);
  EXPECT_GT(once, 0);
  EXPECT_EQ(widened(3 * kFp8RowBlock + 1), once);
}

/// The figures of the header: what rounding the rows costs.
TEST(LinearFp8, ItsErrorIsThatOfRoundedRows) {
  at::manual_seed(4);
  constexpr int64_t kIn = 5120, kRows = 64;
  const CodedMatrix weight = coded(256, kIn, 256);
  const Tensor values = values_of(weight), gaussian = at::randn({kRows, kIn});
  Tensor outlier = gaussian.clone();
  outlier.select(1, 77).mul_(100);
  const struct {
    const char* name;
    Tensor x;
    double figure;
  } cases[] = {
      {"Gaussian", gaussian, 2.6e-2}, {"GELU", at::gelu(gaussian, "tanh"), 2.6e-2}, {"outlier", outlier, 1.6e-2}};
  for (const auto& one : cases) {
    const double error = relative_rms(linear_fp8(one.x, weight, {}), at::linear(one.x, values));
    RecordProperty(one.name, std::to_string(error));
    EXPECT_NEAR(error, one.figure, 1e-3) << one.name;
  }
}

TEST(LinearFp8, TakesE4M3WithScalesOfRowsAlone) {
  for (int64_t scales : {0, 1, 16}) EXPECT_TRUE(takes_fp8(coded(16, 32, scales))) << scales;
  CodedMatrix blocks = coded(16, 32, 16);
  blocks.scale = at::ones({16, 2});
  blocks.scale_columns = 16;
  EXPECT_FALSE(takes_fp8(blocks));
  CodedMatrix pairs = coded(16, 32, 1);
  pairs.scale = at::ones({8, 1});
  pairs.scale_rows = 2;
  EXPECT_FALSE(takes_fp8(pairs));
  CodedMatrix e8m0 = coded(16, 32, 16);
  e8m0.scale = at::full({16, 1}, 127, at::kByte).view(at::kFloat8_e8m0fnu);
  EXPECT_FALSE(takes_fp8(e8m0));
  CodedMatrix other = coded(16, 32, 16);
  other.coding = &coding_of(Code::E5M2);
  EXPECT_FALSE(takes_fp8(other));
  CodedMatrix rotated = coded(16, 32, 16);
  rotated.rotation = 16;
  EXPECT_FALSE(takes_fp8(rotated));
  EXPECT_THROW(linear_fp8(at::randn({2, 32}), rotated, {}), c10::Error);
  EXPECT_THROW(linear_fp8(at::randn({2, 31}), coded(16, 32, 1), {}), c10::Error);
  EXPECT_THROW(linear_fp8(at::randn({2, 32}), coded(16, 32, 1), at::ones({15})), c10::Error);
  EXPECT_FALSE(cuda::takes_fp8(at::randn({2, 32}), coded(16, 32, 1), default_context()));
}

}  // namespace
}  // namespace wan::kernels
