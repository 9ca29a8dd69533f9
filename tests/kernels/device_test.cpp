// Fused or reference, of what can be told without a GPU: in builds with kernels and without.
#include "kernels/op/device.h"

#include <functional>
#include <set>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/int8_attention_cuda.h"
#include "kernels/attention/selector.h"
#include "kernels/linear/gelu_cuda.h"
#include "kernels/linear/int8_cuda.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/op/card_image.h"
#include "kernels/op/card_name.h"
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
  EXPECT_EQ(has_image(card_image_status()), false);
#else
  EXPECT_FALSE(cuda::has_kernels(at::Device(at::kCUDA, 0)));
  EXPECT_EQ(cuda::architecture(at::Device(at::kCUDA, 0)), 0);
  EXPECT_EQ(cuda::attention_selector(at::Device(at::kCUDA, 0), {}), nullptr);
#endif
}

TEST(Device, AChoiceHoldsForCardAndLibrariesTogether) {
  const cuda::MeasuredCard card{"NVIDIA H200", 90, "2.11.0", 91900, 13000};
  EXPECT_EQ(text_of(card), "NVIDIA H200 sm_90, torch 2.11.0, cuDNN 91900, driver 13000");
  std::set<std::string> texts = {text_of(card)};
  const std::vector<std::function<void(cuda::MeasuredCard&)>> changes = {
      [](auto& c) { c.name += " MIG 1g.18gb"; }, [](auto& c) { c.architecture = 89; },
      [](auto& c) { c.torch = "2.12.0"; }, [](auto& c) { ++c.cudnn; }, [](auto& c) { c.driver = 13010; }};
  for (const auto& change : changes) {
    cuda::MeasuredCard other = card;
    change(other);
    EXPECT_TRUE(texts.insert(text_of(other)).second) << text_of(other);
  }
}

TEST(Device, WantOfMemoryAndALostCardSayNothingOfItsImage) {
  EXPECT_EQ(has_image(cudaSuccess), true);
  EXPECT_EQ(has_image(cudaErrorNoKernelImageForDevice), false);
  EXPECT_EQ(has_image(cudaErrorInvalidDeviceFunction), false);
  for (cudaError_t other : {cudaErrorMemoryAllocation, cudaErrorUnknown, cudaErrorDevicesUnavailable,
                            cudaErrorIllegalAddress, cudaErrorLaunchFailure})
    EXPECT_FALSE(has_image(other).has_value()) << other;
}

}  // namespace
}  // namespace wan::kernels
