// Rotary embedding against rotations written out one pair at a time.
#include "kernels/rope/rope.h"

#include <cmath>

#include "kernels/norm/norm.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

TEST(Rope, AnglesAreThoseOfThreeAxes) {
  // 22 + 21 + 21 columns at width 128; each axis has frequencies of its own that start at 1. Negative time is the
  // conjugate.
  const int64_t place[2][3] = {{5, 3, 8}, {-3, 0, 11}};
  Tensor positions = at::tensor({5, 3, 8, -3, 0, 11}, at::kLong).view({2, 3});
  Rope rope = make_rope(positions, 128, at::kCPU, at::kDouble);
  ASSERT_EQ(rope.cos.sizes(), at::IntArrayRef({2, 64}));
  const int widths[] = {22, 21, 21};
  for (int token = 0; token < 2; ++token)
    for (int axis = 0, column = 0; axis < 3; ++axis)
      for (int j = 0; j < widths[axis]; ++j, ++column) {
        double angle = place[token][axis] * std::pow(10000.0, -double(j) / widths[axis]);
        EXPECT_NEAR(rope.cos[token][column].item<double>(), std::cos(angle), 1e-12);
        EXPECT_NEAR(rope.sin[token][column].item<double>(), std::sin(angle), 1e-12);
      }
}

TEST(Rope, GridRunsFramesThenRowsThenColumns) {
  Tensor want = at::tensor({0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1}, at::kLong);
  EXPECT_TRUE(grid_positions(2, 2, 2).equal(want.view({8, 3})));
}

TEST(Rope, TurnsAdjacentPairsAndLeavesTheInputAlone) {
  at::manual_seed(3);
  Tensor x = at::randn({2, 6, 3, 12}, at::kDouble), before = x.clone();
  Rope rope = make_rope(grid_positions(1, 2, 3), 12, at::kCPU, at::kDouble);
  Tensor got = apply_rope(x, rope);
  for (int64_t token : {0, 3, 5})
    for (int64_t j = 0; j < 6; ++j) {
      Tensor a = x.select(1, token).select(-1, 2 * j), b = x.select(1, token).select(-1, 2 * j + 1);
      Tensor c = rope.cos[token][j], s = rope.sin[token][j];
      EXPECT_TRUE(is_close(got.select(1, token).select(-1, 2 * j), a * c - b * s, 1e-12));
      EXPECT_TRUE(is_close(got.select(1, token).select(-1, 2 * j + 1), a * s + b * c, 1e-12));
    }
  EXPECT_TRUE(x.equal(before));
  // A view with strides of its own gives the same.
  EXPECT_TRUE(is_close(apply_rope(x.transpose(1, 2).contiguous().transpose(1, 2), rope), got, 0));
}

TEST(Rope, NormIsOverAllHeadsTogetherThenTurned) {
  at::manual_seed(4);
  const int64_t heads = 3;
  Tensor q = at::randn({2, 6, 36}), k = at::randn({2, 6, 36}), wq = at::randn({36}), wk = at::randn({36});
  Rope rope = make_rope(grid_positions(1, 2, 3), 12, at::kCPU);
  auto want = [&](const Tensor& x, const Tensor& weight) {
    return apply_rope(rms_norm(x.to(at::kDouble), weight, 1e-6).unflatten(-1, {heads, -1}), rope);
  };
  auto [query, key] = qk_norm_rope(q, k, wq, wk, rope, heads, 1e-6);
  EXPECT_TRUE(is_close(query, want(q, wq), 5e-6));  // float32 against float64
  EXPECT_TRUE(is_close(key, want(k, wk), 5e-6));
  auto half = qk_norm_rope(q.to(at::kBFloat16), k.to(at::kBFloat16), wq, wk, rope, heads, 1e-6);
  EXPECT_EQ(half.first.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_rms(half.second, want(k.to(at::kBFloat16), wk)), 2e-3);  // one rounding to 8 bits
}

}  // namespace
}  // namespace wan::kernels
