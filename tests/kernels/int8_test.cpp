// 8-bit products: the rotation, the quantiser (executed through the shim), and the error of the whole.
#include "kernels/linear/int8.h"

#include <cmath>

#include "kernels/dequantise/coded_matrix.h"
#include "kernels/linear/quantise.cuh"
#include "kernels/linear/regular_hadamard.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

/// The regular Hadamard matrix divided by sqrt(order), in float64, from the rows of H4 as ConvRot files have it.
Tensor hadamard_matrix(int64_t order) {
  const Tensor h4 = at::tensor({1, 1, 1, -1, 1, 1, -1, 1, 1, -1, 1, 1, -1, 1, 1, 1}, at::kDouble).view({4, 4});
  Tensor matrix = at::ones({1, 1}, at::kDouble);
  while (matrix.size(0) < order) matrix = at::kron(matrix, h4);
  return matrix / std::sqrt(double(order));
}

/// x [..., K] with each group of `order` of its last axis times that matrix.
Tensor in_groups(const Tensor& x, int64_t order) {
  return at::matmul(x.to(at::kDouble).unflatten(-1, {-1, order}), hadamard_matrix(order)).flatten(-2);
}

TEST(Hadamard, TheMatrixIsThatOfItsOrderAndAllItsSumsAreEqual) {
  for (auto [width, order] : {std::pair<int64_t, int64_t>{128, 64}, {256, 256}, {384, 64}, {1024, 256}}) {
    SCOPED_TRACE(width);
    const Tensor matrix = rotate(at::eye(width));
    EXPECT_TRUE(is_close(matrix, in_groups(at::eye(width), order), 0));
    EXPECT_TRUE(is_close(matrix, matrix.t(), 0));
    EXPECT_TRUE(is_close(rotate(matrix), at::eye(width), 0));
    EXPECT_TRUE(is_close(rotate(at::ones({width})), at::ones({width}), 0));  // the mean stays where it was
  }
}

TEST(Hadamard, RotateMultipliesEveryGroup) {
  at::manual_seed(1);
  for (auto [width, order] : {std::pair<int64_t, int64_t>{384, 64}, {512, 256}, {5120, 256}}) {
    const Tensor x = at::randn({3, 2, width});
    EXPECT_LT(relative_rms(rotate(x), in_groups(x, order)), 2e-7) << width;  // float32, at most eight sums
    EXPECT_LT(relative_rms(rotate(rotate(x)), x), 3e-7) << width;
  }
  EXPECT_THROW(rotate(at::zeros({2, 64})), c10::Error);
  EXPECT_THROW(regular_hadamard(at::zeros({2, 128}), 256), c10::Error);
  EXPECT_THROW(regular_hadamard(at::zeros({2, 128}), 32), c10::Error);
}

TEST(Hadamard, TheRotationOfAFileIsOursWhereOrderAndWidthAgree) {
  for (int64_t width : {256, 1536, 5120, 13824}) {
    EXPECT_TRUE(is_own_rotation(256, width)) << width;
    for (int64_t other : {0, 16, 64, 128, 1024}) EXPECT_FALSE(is_own_rotation(other, width)) << other << " " << width;
  }
  for (int64_t width : {128, 384, 640}) {
    EXPECT_TRUE(is_own_rotation(64, width)) << width;
    EXPECT_FALSE(is_own_rotation(256, width) || is_own_rotation(0, width)) << width;
  }
  EXPECT_FALSE(is_own_rotation(64, 192) || is_own_rotation(64, 64) || is_own_rotation(256, 0));
}

TEST(QuantiseRows, StaysWithinHalfAStep) {
  at::manual_seed(2);
  Tensor x = at::randn({5, 640}) * at::tensor({1.0f, 1e-6f, 1e6f, 100.0f, 3.0f}).view({5, 1});
  QuantisedRows rows = quantise_rows(x);
  Tensor steps = (rotate(x) / rows.scale.unsqueeze(1) - rows.codes).abs();
  EXPECT_LE(steps.max().item<double>(), 0.5001);  // and float32's rounding
  EXPECT_TRUE(rows.codes.abs().amax(1).equal(at::full({5}, 127, at::kChar)));
}

TEST(QuantiseRows, OfZerosAreZerosAndOfNaNAreNotFinite) {
  Tensor x = at::zeros({4, 128});
  x[1].fill_(1e-36);
  x[2][77] = NAN;
  x[3][5] = INFINITY;
  QuantisedRows rows = quantise_rows(x);
  EXPECT_TRUE(rows.codes.narrow(0, 0, 2).equal(at::zeros({2, 128}, at::kChar)));
  EXPECT_EQ(rows.scale[0].item<float>(), 0);
  EXPECT_FALSE(std::isfinite(rows.scale[2].item<float>()));
  EXPECT_FALSE(std::isfinite(rows.scale[3].item<float>()));
}

QuantisedRows run_quantise(const Tensor& x, Element element, simt::Order order) {
  QuantisedRows out = {at::full(x.sizes(), -128, at::kChar), poisoned({x.size(0)}, at::kFloat)};
  const QuantiseRowsArguments a{x.const_data_ptr(), out.codes.data_ptr<int8_t>(), out.scale.data_ptr<float>(),
                                x.size(0), int(x.size(1))};
  run_quantise_rows(a, element, simt::HostRunner{order});
  return out;
}

TEST(QuantiseRowsKernel, HasTheReferencesCodesOnRealWidths) {
  for (int64_t channels : {128, 256, 384, 640, 768, 1536, 5120, 13824, 16384}) {
    for (const Storage& storage : kStorages) {
      SCOPED_TRACE(testing::Message() << channels << " " << storage.dtype);
      at::manual_seed(channels);
      Tensor x = at::randn({4, channels}) * at::tensor({1.0f, 1e-3f, 30.0f, 0.0f}).view({4, 1});
      x[2][channels / 2] = 1e4;  // one outlier
      x = x.to(storage.dtype);
      QuantisedRows want = reference::quantise_rows(x);
      for (simt::Order order : kOrders) {
        QuantisedRows got = run_quantise(x, storage.element, order);
        EXPECT_TRUE(got.codes.equal(want.codes));
        EXPECT_TRUE(got.scale.equal(want.scale));
      }
    }
  }
}

TEST(QuantiseRowsKernel, KeepsZerosAndShowsNaN) {
  Tensor x = at::zeros({3, 256});
  x[1][200] = NAN;
  x[2][3] = -INFINITY;
  QuantisedRows rows = run_quantise(x, Element::Float, simt::Order::Forward);
  EXPECT_TRUE(rows.codes[0].equal(at::zeros({256}, at::kChar)));
  EXPECT_EQ(rows.scale[0].item<float>(), 0);
  EXPECT_FALSE(std::isfinite(rows.scale[1].item<float>()));
  EXPECT_FALSE(std::isfinite(rows.scale[2].item<float>()));
}

TEST(LinearInt8, TheIntegerPartIsExact) {
  at::manual_seed(3);
  // Saturated rows have the largest sums there are: 127^2 for each of 13,824.
  Tensor a = at::randint(-127, 128, {6, 13824}, at::kChar), b = at::randint(-127, 128, {10, 13824}, at::kChar);
  a[0].fill_(127);
  b[0].fill_(-127);
  b[1].fill_(127);
  b[2].fill_(-128);  // which files may have
  Tensor want = at::matmul(a.to(at::kDouble), b.to(at::kDouble).t());
  EXPECT_TRUE(is_close(reference::multiply_codes(a, b), want, 0));
  EXPECT_EQ(want[0][1].item<double>(), 127.0 * 127 * 13824);
  EXPECT_EQ(want[0][2].item<double>(), -127.0 * 128 * 13824);
}

TEST(LinearInt8, ErrorStaysInItsContract) {
  at::manual_seed(4);
  Tensor weight = at::randn({256, 5120}) * 0.02, bias = at::randn({256});
  Tensor gaussian = at::randn({64, 5120}), outliers = gaussian.clone();
  for (int64_t channel = 0; channel < 5120; channel += 640) outliers.select(1, channel).mul_(20);
  QuantisedRows quantised = quantise_rows(weight);
  for (const Tensor& x : {gaussian, outliers}) {
    Tensor want = at::linear(x.to(at::kDouble), weight.to(at::kDouble));
    EXPECT_LT(relative_rms(linear_int8(x, quantised, {}), want), 1.8e-2);
    // Without the rotation the outliers would cost more than three times that.
  }
  Tensor want = at::gelu(at::linear(gaussian, weight, bias), "tanh");
  EXPECT_LT(relative_rms(linear_int8(gaussian, quantised, bias, Activation::GeluTanh), want), 1.8e-2);
}

/// The codes of ConvRot files are multiplied as they are: against the matrix that they stand for, widened and rotated
/// back by its definition.
TEST(LinearInt8, TakesTheCodesOfConvRotFiles) {
  at::manual_seed(7);
  for (auto [width, order] : {std::pair<int64_t, int64_t>{1536, 256}, {384, 64}}) {
    const Tensor codes = at::randint(-128, 128, {40, width}, at::kChar), x = at::randn({30, width});
    const Tensor of_rows = at::rand({40}) * 1e-3 + 1e-3, of_all = at::full({1}, 2e-3);
    for (const Tensor& scale : {of_rows, of_all}) {
      SCOPED_TRACE(testing::Message() << width << ", scales: " << scale.numel());
      const Tensor weight = in_groups(codes * scale.to(at::kDouble).unsqueeze(1), order);
      const Tensor want = at::matmul(x.to(at::kDouble), weight.t());
      const QuantisedRows rows = {codes, scale.expand({40}).contiguous()};
      EXPECT_LT(relative_rms(linear_int8(x, rows, {}), want), 1.2e-2);  // x alone is rounded
      const CodedMatrix coded{.coding = &coding_of(Code::Int8),
                              .columns = width,
                              .codes = codes.view(at::kByte),
                              .scale = scale.unsqueeze(1),
                              .scale_rows = 40 / scale.numel(),
                              .scale_columns = width,
                              .rotation = order};
      EXPECT_LT(relative_rms(widen(coded, 0, 40, at::kFloat), weight), 3e-7);
    }
  }
}

TEST(LinearInt8, RowsPassInBlocksAndZerosGiveTheBias) {
  at::manual_seed(5);
  Tensor weight = at::randn({6, 128}), bias = at::randn({6});
  weight[2].zero_();
  QuantisedRows quantised = quantise_rows(weight);
  Tensor x = at::randn({2, 1025, 128});  // more rows than one block has
  x[1][1024].zero_();
  Tensor y = linear_int8(x, quantised, bias);
  EXPECT_LT(relative_rms(y, at::linear(x, weight, bias)), 2.5e-2);
  EXPECT_TRUE(y[1][1024].equal(bias));
  EXPECT_TRUE(y.select(2, 2).equal(bias[2].expand({2, 1025})));
  EXPECT_EQ(linear_int8(x.narrow(0, 0, 0), quantised, bias).numel(), 0);
}

TEST(LinearInt8, AddsToTheResidualThroughTheGate) {
  at::manual_seed(6);
  Tensor weight = at::randn({6, 128}), bias = at::randn({6}), gate = at::randn({2, 6});
  QuantisedRows quantised = quantise_rows(weight);
  Tensor x = at::randn({2, 9, 128}).to(at::kBFloat16), residual = at::randn({2, 9, 6}), want = residual.clone();
  Tensor y = reference::linear_int8(quantise_rows(x.view({18, 128})), quantised, bias);
  gated_residual_(want, y.view({2, 9, 6}), gate, {4, 9});
  linear_int8_residual_(residual, x, quantised, bias, gate, {4, 9});
  EXPECT_TRUE(is_close(residual, want, 0));
}

TEST(LinearInt8, RefusesOtherShapes) {
  QuantisedRows weight = quantise_rows(at::ones({4, 128}));
  EXPECT_THROW(linear_int8(at::ones({2, 256}), weight, {}), c10::Error);
  EXPECT_THROW(linear_int8(at::ones({2, 128}), {weight.codes, weight.scale.narrow(0, 0, 3)}, {}), c10::Error);
  EXPECT_THROW(linear_int8(at::ones({2, 128}, at::kDouble), weight, {}), c10::Error);
  EXPECT_THROW(quantise_rows(at::ones({2, 100})), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
