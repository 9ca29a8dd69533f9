// The GELU behind a product, and a step of a solver, on a GPU against float64.
#include "kernels/linear/linear.h"

#include "kernels/linear/gelu_cuda.h"
#include "kernels/step/solver_step_cuda.h"
#include "tests/gpu/gpu.h"

namespace wan::kernels {
namespace {

class LinearGpu : public Gpu {};

TEST_F(LinearGpu, GeluIsTheTanhFormWithAndWithoutBias) {
  for (at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    for (int64_t length : {1, 65, 1560}) {
      Tensor x = randn({1, length, 5120}, dtype), weight = (randn({13824, 5120}) * 0.02).to(dtype),
             bias = randn({13824}, dtype);
      for (const Tensor& added : {bias, Tensor()}) {
        Tensor want = reference::linear(wide(x), weight, added, Activation::GeluTanh);
        const auto fused = cuda::linear_gelu(x, weight, added);
        ASSERT_TRUE(fused);
        Tensor got = *fused;
        // Without a fused bias the product is rounded before the GELU too.
        EXPECT_LT(relative_rms(got, want), 2.5e-3);
        Tensor erf = at::gelu(reference::linear(wide(x), weight, added, Activation::None));
        EXPECT_LT(relative_rms(got, want), relative_rms(got, erf) + 1e-4);
      }
    }
  }
}

TEST_F(LinearGpu, AStepOfASolver) {
  Tensor in[6];
  for (Tensor& one : in) one = randn({16, 21, 60, 104});
  const auto& [conditional, unconditional, x, sample, newest, older] = in;
  const StepFactors factors[] = {
      {.velocity = -0.5},
      {.velocity = -0.5, .predictor = {{0.9, 0.1, 0}}},
      {.velocity = -0.5, .corrector = {{0.8, 0.1, 0, 0.1}}},
      {.velocity = -0.5, .corrector = {{0.8, 0.3, -0.2, 0.1}}, .predictor = {{0.9, 0.2, -0.1}}}};
  for (const Velocity& velocity : {Velocity{conditional}, Velocity{conditional, unconditional, 5}}) {
    for (const StepFactors& step : factors) {
      const StepHistory history = {step.corrector ? sample : Tensor(), newest, older};
      const auto fused = cuda::solver_step(velocity, x, history, step);
      ASSERT_TRUE(fused);
      const StepSums got = *fused;
      const StepSums want =
          reference::solver_step({wide(velocity.conditional), wide(velocity.unconditional), velocity.guidance}, wide(x),
                                 {wide(sample), wide(newest), wide(older)}, step);
      EXPECT_TRUE(is_close(got.prediction, want.prediction, 1e-5));
      EXPECT_EQ(got.corrected.defined(), step.corrector.has_value());
      EXPECT_EQ(got.next.defined(), step.predictor.has_value());
      if (step.corrector) {
        EXPECT_TRUE(is_close(got.corrected, want.corrected, 1e-5));
      }
      if (step.predictor) {
        EXPECT_TRUE(is_close(got.next, want.next, 1e-5));
      }
    }
  }
}

}  // namespace
}  // namespace wan::kernels
