#include "kernels/linear/linear.h"

#include <cmath>

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

TEST(Linear, WrongShapesAreNamed) {
  EXPECT_THROW(kernels::linear(at::zeros({2, 7}), at::zeros({4, 8}), {}), c10::Error);
  EXPECT_THROW(kernels::linear(at::zeros({2, 8}), at::zeros({4, 8}), at::zeros({8})), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
