// The reference norms against formulas written out in float64.
#include "kernels/norm/norm.h"

#include "tests/support.h"

namespace wan::kernels {
namespace {

// float32 against float64: the inputs are of order 1 and the sums short.
constexpr double kFloat32 = 5e-6;
// Small rows make an epsilon of 1e-6 visible.
constexpr double kSmall = 1e-3;

Tensor randn(at::IntArrayRef shape) {
  return at::randn(shape, at::kFloat);
}

Tensor normed(const Tensor& x, double eps) {
  Tensor wide = x.to(at::kDouble);
  Tensor centred = wide - wide.mean(-1, true);
  return centred / (centred.square().mean(-1, true) + eps).sqrt();
}

/// One row of [S, C] for each token, by the ends of the segments.
Tensor per_token(const Tensor& rows, const Segments& ends) {
  std::vector<Tensor> parts;
  int64_t start = 0;
  for (size_t s = 0; s < ends.size(); start = ends[s++]) parts.push_back(rows[s].expand({ends[s] - start, -1}));
  return at::cat(parts).to(at::kDouble);
}

class Norm : public testing::Test {
 protected:
  void SetUp() override { at::manual_seed(7); }
};

TEST_F(Norm, RmsNormFollowsTheFormulaInEveryDtype) {
  for (double size : {1.0, kSmall}) {
    Tensor x = randn({2, 7, 96}) * size, weight = randn({96});
    Tensor wide = x.to(at::kDouble);
    Tensor want = wide / (wide.square().mean(-1, true) + 1e-6).sqrt() * weight;
    EXPECT_TRUE(is_close(rms_norm(x, weight, 1e-6), want, kFloat32));
    EXPECT_TRUE(is_close(rms_norm(wide, weight, 1e-6), want, 1e-12));
    Tensor half = rms_norm(x.to(at::kBFloat16), weight.to(at::kBFloat16), 1e-6);
    EXPECT_EQ(half.scalar_type(), at::kBFloat16);
    EXPECT_LT(relative_rms(half, want), 4e-3);  // three roundings to 8 bits
  }
}

TEST_F(Norm, ModulationTakesTheRowOfEachSegment) {
  for (const Segments& ends : {Segments{9}, Segments{4, 9}, Segments{0, 9}}) {
    int64_t rows = std::ssize(ends);
    Tensor x = randn({2, 9, 64}) * kSmall, shift = randn({rows, 64}), scale = randn({rows, 64});
    Tensor want = normed(x, 1e-6) * (1 + per_token(scale, ends)) + per_token(shift, ends);
    EXPECT_TRUE(is_close(modulated_layer_norm(x, shift, scale, ends, 1e-6, at::kFloat), want, kFloat32));
    EXPECT_EQ(modulated_layer_norm(x, shift, scale, ends, 1e-6, at::kBFloat16).scalar_type(), at::kBFloat16);
  }
}

TEST_F(Norm, GatedResidualAddsInPlace) {
  const Segments ends = {3, 9};
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    Tensor x = randn({2, 9, 64}), y = randn({2, 9, 64}).to(dtype), gate = randn({2, 64});
    Tensor before = x.clone(), alias = x;
    gated_residual_(x, y, gate, ends);
    EXPECT_TRUE(is_close(x, before + y.to(at::kDouble) * per_token(gate, ends), kFloat32));
    EXPECT_TRUE(x.is_same(alias));
    before = x.clone();
    gated_residual_(x, y, {}, ends);
    EXPECT_TRUE(is_close(x, before.to(at::kDouble) + y, kFloat32));
  }
}

TEST_F(Norm, ResidualAndNextNormAreTheTwoStepsInOne) {
  const Segments ends = {9};
  Tensor y = randn({1, 9, 64}), gate = randn({1, 64}), weight = randn({64}), bias = randn({64});
  Tensor start = randn({1, 9, 64});
  Tensor sum = start.to(at::kDouble) + y * gate.to(at::kDouble);
  Tensor x = start.clone();
  Tensor affine = gated_residual_norm_(
      x, y, gate, {.weight = weight, .bias = bias, .shift = {}, .scale = {}, .eps = 1e-6}, ends, at::kFloat);
  EXPECT_TRUE(is_close(x, sum, kFloat32));
  EXPECT_TRUE(is_close(affine, normed(sum, 1e-6) * weight + bias, kFloat32));
  x = start.clone();
  Tensor modulated = gated_residual_norm_(
      x, y, gate, {.weight = {}, .bias = {}, .shift = bias.unsqueeze(0), .scale = weight.unsqueeze(0), .eps = 1e-6},
      ends, at::kFloat);
  EXPECT_TRUE(is_close(modulated, normed(sum, 1e-6) * (1 + weight) + bias, kFloat32));
}

TEST_F(Norm, GradientsPassThroughTheResidual) {
  Tensor start = at::randn({1, 5, 16}, at::kDouble), gate = at::randn({1, 16}, at::kDouble);
  auto loss = [&](const Tensor& from) {
    Tensor x = from * 1;
    Tensor y = modulated_layer_norm(x, gate, gate, {5}, 1e-6, at::kDouble);
    Tensor z = gated_residual_norm_(x, y, gate, {.weight = {}, .bias = {}, .shift = gate, .scale = gate, .eps = 1e-6},
                                    {5}, at::kDouble);
    return (z.square() * z).sum() + x.square().sum();
  };
  Tensor leaf = start.clone().requires_grad_(true), step = at::randn({1, 5, 16}, at::kDouble);
  loss(leaf).backward();
  double slope = (leaf.grad() * step).sum().item<double>();
  double numeric = (loss(start + 1e-6 * step) - loss(start - 1e-6 * step)).item<double>() / 2e-6;
  EXPECT_NEAR(slope, numeric, 1e-5 * std::abs(numeric) + 1e-5);  // central difference in float64
}

TEST_F(Norm, WrongShapesAreNamed) {
  Tensor x = randn({1, 9, 64}), row = randn({1, 64});
  auto message = [](auto call) {
    try {
      call();
    } catch (const c10::Error& error) {
      return std::string(error.what_without_backtrace());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message([&] {
              modulated_layer_norm(x, row, randn({1, 63}), {9}, 1e-6, at::kFloat);
            }),
            "[modulated_layer_norm] scale must be [1, 64], got [1, 63]");
  EXPECT_EQ(message([&] { modulated_layer_norm(x, row, row, {8}, 1e-6, at::kFloat); }),
            "[modulated_layer_norm] the last segment must end at 9 tokens, got 8");
  EXPECT_EQ(message([&] {
              gated_residual_(x, randn({1, 8, 64}), row, {9});
            }),
            "[gated_residual_] y must be [1, 9, 64], got [1, 8, 64]");
  EXPECT_EQ(message([&] { rms_norm(x, {}, 1e-6); }), "[rms_norm] weight must be [64], got no tensor");
}

}  // namespace
}  // namespace wan::kernels
