// Fused or reference, of what can be told without a GPU: in builds with kernels and without.
#include "kernels/op/device.h"

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/int8_attention_cuda.h"
#include "kernels/attention/selector.h"
#include "kernels/linear/gelu_cuda.h"
#include "kernels/linear/int8_cuda.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/op/launch.h"
#include "kernels/rope/rope_cuda.h"
#include "kernels/step/solver_step_cuda.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

using at::Tensor;

TEST(Device, NothingFusedRunsOnTheCpu) {
  const Tensor x = at::ones({1, 4, 128}), heads = at::ones({1, 4, 1, 128}), row = at::ones({1, 128});
  const Segments ends = {4};
  const NextNorm next{{}, {}, row, row, 1e-6};
  const Rope rope = make_rope(grid_positions(1, 2, 2), 128, at::kCPU);
  const QuantisedRows rows = reference::quantise_rows(x[0]);
  const QuantisedHeads codes = reference::quantise_queries(heads, 1);
  Tensor residual = x.clone();
  EXPECT_FALSE(use_fused(x) || use_libraries(x));
  EXPECT_FALSE(cuda::rms_norm(x, row[0], 1e-6));
  EXPECT_FALSE(cuda::layer_norm(x, row[0], row[0], 1e-6, at::kFloat));
  EXPECT_FALSE(cuda::modulated_layer_norm(x, row, row, ends, 1e-6, at::kFloat));
  EXPECT_FALSE(cuda::gated_residual_(residual, x, row, ends));
  EXPECT_FALSE(cuda::gated_residual_norm_(residual, x, row, next, ends, at::kFloat));
  EXPECT_FALSE(cuda::modulated_layer_norm_int8(x, row, row, ends, 1e-6));
  EXPECT_FALSE(cuda::gated_residual_norm_int8_(residual, x, row, next, ends));
  EXPECT_FALSE(cuda::channel_norm_silu(x, row[0], true, residual));
  EXPECT_FALSE(cuda::apply_rope(heads, rope));
  EXPECT_FALSE(cuda::qk_norm_rope(x, x, row[0], row[0], rope, 1, 1e-6));
  EXPECT_FALSE(cuda::linear_gelu(x, at::ones({8, 128}), {}));
  EXPECT_FALSE(cuda::quantise_rows(x));
  EXPECT_FALSE(cuda::multiply_rows(rows, rows, {}, Activation::None, at::kBFloat16, Instructions::Mma));
  EXPECT_FALSE(cuda::linear_int8(x, rows, {}, Activation::None));
  EXPECT_FALSE(cuda::takes_residual(residual, x, rows, row, ends));
  EXPECT_FALSE(cuda::linear_int8_residual_(residual, x, rows, {}, row, ends));
  EXPECT_FALSE(cuda::attention(heads, heads, heads, 1, {}));
  EXPECT_FALSE(cuda::quantise_heads(heads, {}, 1));
  EXPECT_FALSE(cuda::attention_int8(codes, codes, heads, {Values::Plain}));
  EXPECT_FALSE(cuda::attend_codes(codes, codes, heads, {}, {Values::Plain}));
  EXPECT_FALSE(cuda::code_values(heads, Sums::Float));
  EXPECT_FALSE(cuda::solver_step({x}, x, {}, {.velocity = 1}));
  EXPECT_TRUE(residual.equal(x)) << "what takes nothing writes nothing";
}

TEST(Device, TheCpuHasNoInstructionsOfItsOwn) {
  const Context on({.wgmma = Wgmma::On});
  EXPECT_EQ(cuda::instructions_on(at::kCPU, on), Instructions::Mma);
  EXPECT_EQ(make_context({.wgmma = Wgmma::On}, at::kCPU)->attention(), nullptr);
}

TEST(Device, WithoutACardThereIsNoImageForIt) {
#ifdef WAN_CUDA_KERNELS
  if (at::hasCUDA()) GTEST_SKIP() << "a card is here: the tests in tests/gpu ask it";
  EXPECT_FALSE(current_card_has_image());
#else
  EXPECT_FALSE(cuda::has_kernels(at::Device(at::kCUDA, 0)));
  EXPECT_EQ(cuda::architecture(at::Device(at::kCUDA, 0)), 0);
  EXPECT_EQ(cuda::attention_selector(at::Device(at::kCUDA, 0), {}), nullptr);
#endif
}

}  // namespace
}  // namespace wan::kernels
