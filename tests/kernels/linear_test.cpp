#include "kernels/linear/linear.h"

#include <cmath>

#include "kernels/linear/row_parts.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

TEST(Linear, ConvertsTheWeightToTheInput) {
  at::manual_seed(5);
  Tensor x = at::randn({2, 3, 32}), weight = at::randn({16, 32}).to(at::kBFloat16), bias = at::randn({16});
  Tensor want = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t()) + bias;
  EXPECT_TRUE(is_close(kernels::linear(x, weight, bias), want, 1e-5));  // float32, 32 products
  EXPECT_TRUE(is_close(kernels::linear(x.to(at::kDouble), weight, bias), want, 1e-12));
  EXPECT_TRUE(is_close(kernels::linear(x, weight, {}), want - bias, 1e-5));
  Tensor half = kernels::linear(x.to(at::kBFloat16), weight, bias);
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_rms(half, want), 6e-3);  // operands and result of 8 bits
}

TEST(Linear, ActivationsFollowTheirFormulas) {
  at::manual_seed(6);
  Tensor x = at::randn({5, 8}, at::kDouble), weight = at::eye(8, at::kDouble);
  Tensor gelu = 0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))).tanh());
  EXPECT_TRUE(is_close(kernels::linear(x, weight, {}, Activation::GeluTanh), gelu, 1e-12));
  EXPECT_TRUE(is_close(kernels::linear(x, weight, {}, Activation::Silu), x / (1 + (-x).exp()), 1e-12));
}

TEST(Linear, NoLibraryIsAskedForMoreThan2To31Elements) {
  EXPECT_EQ(rows_at_once(75600, 5120, 15360), 75600);   // 720p, 81 frames: 1.2e9
  EXPECT_EQ(rows_at_once(147600, 5120, 15360), 73800);  // 161 frames: 2.3e9
  EXPECT_EQ(rows_at_once(147600, 5120, 13824), 147600);
  EXPECT_EQ(rows_at_once(1024 * 3600, 13824, 5120), 153600);  // 4,093 frames: the wider side counts
  EXPECT_EQ(rows_at_once(0, 5120, 15360), 1);
  EXPECT_EQ(rows_at_once(7, 5, 5, 3), 1);
}

TEST(Linear, PartsOfRowsAreTheWhole) {
  at::manual_seed(7);
  const Tensor x = at::randn({2, 5, 8}, at::kDouble), weight = at::randn({6, 8}, at::kDouble),
               bias = at::randn({6}, at::kDouble);
  const Tensor product = at::matmul(x, weight.t());
  for (int64_t rows : {1, 3, 5, 9, 10, 11}) {
    EXPECT_TRUE(is_close(linear_in_parts(x, weight, bias, rows), product + bias, 1e-12)) << rows;
    EXPECT_TRUE(is_close(linear_in_parts(x, weight, {}, rows), product, 1e-12)) << rows;
  }
}

TEST(Linear, WrongShapesAreNamed) {
  EXPECT_THROW(kernels::linear(at::zeros({2, 7}), at::zeros({4, 8}), {}), c10::Error);
  EXPECT_THROW(kernels::linear(at::zeros({2, 8}), at::zeros({4, 8}), at::zeros({8})), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
