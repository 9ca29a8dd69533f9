// A step of a solver against its formulas, and the tensors it asks for.
#include "kernels/step/solver_step.h"

#include "tests/support.h"

namespace wan::kernels {
namespace {

struct SolverStep : testing::Test {
  SolverStep() { at::manual_seed(1); }
  static Tensor draw() { return at::randn({2, 3, 4}); }

  const Tensor x = draw();
  const Velocity velocity{draw(), draw(), 4};
  const StepHistory history{draw(), draw(), draw()};
};

TEST_F(SolverStep, FollowsItsFormulas) {
  const Tensor v = velocity.unconditional.to(at::kDouble) * -3 + velocity.conditional * 4.0;
  EXPECT_TRUE(is_close(guided(velocity), v, 1e-5));
  EXPECT_TRUE(guided({x}).equal(x));
  const StepSums sums =
      solver_step(velocity, x, history, {.velocity = -0.5, .corrector = {{0.25, 2, -3, 5}}, .predictor = {{7, -2, 3}}});
  const Tensor prediction = x - v * 0.5;
  const Tensor corrected = history.sample * 0.25 + history.newest * 2 - history.older * 3 + prediction * 5;
  EXPECT_TRUE(is_close(sums.prediction, prediction, 1e-5));
  EXPECT_TRUE(is_close(sums.corrected, corrected, 5e-5));
  EXPECT_TRUE(is_close(sums.next, corrected * 7 - prediction * 2 + history.newest * 3, 5e-4));
}

TEST_F(SolverStep, MakesAndReadsOnlyWhatIsAsked) {
  const StepSums alone = solver_step({velocity.conditional}, x, {}, {.velocity = 2});
  EXPECT_TRUE(is_close(alone.prediction, x + velocity.conditional * 2, 1e-6));
  EXPECT_FALSE(alone.corrected.defined() || alone.next.defined());
  const StepSums first = solver_step({velocity.conditional}, x, {}, {.velocity = 2, .predictor = {{3, -1, 0}}});
  EXPECT_FALSE(first.corrected.defined());
  EXPECT_TRUE(is_close(first.next, x * 3 - alone.prediction, 1e-5));
  // A missing tensor with a factor, and one of another shape.
  EXPECT_THROW(solver_step(velocity, x, {}, {.velocity = 2, .predictor = {{3, -1, 1}}}), c10::Error);
  EXPECT_THROW(solver_step(velocity, x, {}, {.velocity = 2, .corrector = {{3, 0, 0, 1}}}), c10::Error);
  EXPECT_THROW(
      solver_step(velocity, x, {history.sample, history.newest, {}}, {.velocity = 2, .corrector = {{1, 1, 1}}}),
      c10::Error);
  EXPECT_THROW(solver_step({x[0]}, x, {}, {.velocity = 1}), c10::Error);
  EXPECT_THROW(solver_step({x, x[0]}, x, {}, {.velocity = 1}), c10::Error);
  EXPECT_THROW(solver_step({}, x, {}, {.velocity = 1}), c10::Error);
}

}  // namespace
}  // namespace wan::kernels
