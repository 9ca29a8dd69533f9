// A step of a solver, executed through the shim, against the reference in float64.
#include "kernels/step/solver_step.cuh"

#include "kernels/step/solver_step.h"
#include "tests/kernels/fused.h"

namespace wan::kernels {
namespace {

TEST(SolverStepKernel, AStepIsTheReferences) {
  at::manual_seed(2);
  constexpr float kGuidance = 5, kVelocity = -0.7f, kCorrector[] = {0.25f, 2, -3, 5}, kPredictor[] = {0.5f, -2, 3};
  // Whole packs, a tail of single elements, more than a block.
  for (int size : {1, 4, 777, 4 * kStepThreads + 4}) {
    const Tensor in = at::randn({6, size}), wide = in.to(at::kDouble);
    for (int parts = 0; parts < 32; ++parts) {
      const bool guidance = parts & 1, corrects = parts & 2, predicts = parts & 4, newest = parts & 8,
                 older = parts & 16;
      Tensor prediction = poisoned({size}, at::kFloat), corrected = prediction.clone(), next = prediction.clone();
      const auto given = [&](int row, bool there) { return there ? floats(in[row]) : nullptr; };
      SolverStepArguments a{.conditional = given(0, true),
                            .unconditional = given(1, guidance),
                            .x = given(2, true),
                            .sample = given(3, corrects),
                            .newest = given(4, newest),
                            .older = given(5, older),
                            .guidance = kGuidance,
                            .velocity = kVelocity,
                            .corrector = {},
                            .predictor = {},
                            .prediction = prediction.data_ptr<float>(),
                            .corrected = corrects ? corrected.data_ptr<float>() : nullptr,
                            .next = predicts ? next.data_ptr<float>() : nullptr,
                            .size = size};
      std::copy_n(kCorrector, 4, a.corrector);
      std::copy_n(kPredictor, 3, a.predictor);
      run_solver_step(a, simt::HostRunner{});
      StepFactors factors{.velocity = kVelocity};
      if (corrects) factors.corrector = {kCorrector[0], newest ? kCorrector[1] : 0, older ? kCorrector[2] : 0, 5};
      if (predicts) factors.predictor = {kPredictor[0], kPredictor[1], newest ? kPredictor[2] : 0};
      const StepSums want = reference::solver_step({wide[0], guidance ? wide[1] : Tensor(), kGuidance}, wide[2],
                                                   {wide[3], wide[4], wide[5]}, factors);
      SCOPED_TRACE(testing::Message() << size << " elements, parts " << parts);
      // float32 sums of a few terms of up to 100
      EXPECT_TRUE(is_close(prediction, want.prediction, 5e-6));
      EXPECT_TRUE(corrects ? is_close(corrected, want.corrected, 5e-5)
                           : testing::AssertionResult(corrected.isnan().all().item<bool>()));
      EXPECT_TRUE(predicts ? is_close(next, want.next, 5e-5)
                           : testing::AssertionResult(next.isnan().all().item<bool>()));
    }
  }
}

}  // namespace
}  // namespace wan::kernels
