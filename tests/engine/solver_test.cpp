// Solvers against a flow whose solution is known, their saved state, and the edges of sigma.
#include "engine/sampling/solver.h"

#include <cmath>

#include "engine/request/schedule.h"
#include "engine/sampling/noise.h"
#include "tests/support.h"

namespace wan {
namespace {

using at::Tensor;

constexpr const char* kKinds[] = {"unipc", "dpm++", "euler", "step_distill"};
constexpr uint64_t kSeed = 14;

Solver make(const std::string& kind, const std::vector<float>& sigmas, int64_t start = 0) {
  return Solver(solver_named(kind), sigmas, start, FreshNoise{kSeed, at::kCPU});
}

/// Clean data drawn from a normal distribution of this width: the best prediction and the flow are known in closed
/// form.
constexpr double kWidth = 0.5;

double width_at(double sigma) {
  return std::hypot((1 - sigma) * kWidth, sigma);
}

Tensor velocity_at(const Tensor& x, double sigma) {
  double clean = (1 - sigma) * kWidth * kWidth / (width_at(sigma) * width_at(sigma));
  return sigma > 0 ? (x - x * clean) / sigma : x * 0;
}

std::vector<float> sigmas_of(const char* kind, int64_t steps, double shift) {
  std::vector<double> table = flow_sigmas(solver_named(kind), steps, shift);
  return {table.begin(), table.end()};
}

Tensor run(Solver& solver, const std::vector<float>& sigmas, Tensor x, int64_t until) {
  while (solver.index() < until) {
    double sigma = sigmas[solver.index()];
    x = solver.step({velocity_at(x, sigma)}, x);
  }
  return x;
}

/// Relative error at the noise level 0.05, before the last steps, which are of first order by definition.
double error_of(const char* kind, int64_t steps) {
  std::vector<float> sigmas;
  for (int64_t i = 0; i <= steps; ++i) sigmas.push_back(float(0.95 + (0.05 - 0.95) * double(i) / double(steps)));
  sigmas.push_back(0);
  Solver solver(solver_named(kind), sigmas);
  Tensor x = at::full({1}, width_at(sigmas[0]), at::kDouble);
  return std::abs(run(solver, sigmas, x, steps).item<double>() / width_at(sigmas[steps]) - 1);
}

TEST(Solver, ErrorsFallWithTheOrderOfTheMethod) {
  EXPECT_NEAR(error_of("euler", 50) / error_of("euler", 100), 2, 0.2);
  EXPECT_NEAR(error_of("dpm++", 50) / error_of("dpm++", 100), 4, 0.6);
  EXPECT_GT(error_of("unipc", 50) / error_of("unipc", 100), 3.4);  // the corrector lifts order 2 towards 3
  EXPECT_LT(error_of("dpm++", 50), error_of("euler", 50) / 5);
  EXPECT_LT(error_of("unipc", 50), error_of("dpm++", 50));
}

TEST(Solver, ReachesAFixedPredictionExactly) {
  // Where every step predicts the same clean data, all methods end there.
  at::manual_seed(1);
  Tensor clean = at::randn({4, 3}), start = at::randn({4, 3});
  for (const char* kind : kKinds)
    for (double shift : {0.2, 1.0, 12.0}) {
      std::vector<float> sigmas = sigmas_of(kind, 9, shift);
      Solver solver = make(kind, sigmas);
      Tensor x = start;
      while (solver.index() < solver.steps()) x = solver.step({(x - clean) / sigmas[solver.index()]}, x);
      EXPECT_TRUE(is_close(x, clean, 1e-5)) << kind << " " << shift;
    }
}

TEST(Solver, GoesOnFromASavedStateWithTheSameBytes) {
  at::manual_seed(2);
  Tensor start = at::randn({2, 5});
  for (const char* kind : kKinds) {
    std::vector<float> sigmas = sigmas_of(kind, 7, 5);
    for (int64_t first : {0, 2}) {
      Solver whole = make(kind, sigmas, first);
      Tensor want = run(whole, sigmas, start, 7);
      for (int64_t stop = first; stop <= 7; ++stop) {
        Solver before = make(kind, sigmas, first), after = make(kind, sigmas);
        Tensor x = run(before, sigmas, start, stop);
        after.load(before.save(), at::kCPU);
        EXPECT_EQ(after.index(), stop);
        EXPECT_TRUE(run(after, sigmas, x, 7).equal(want)) << kind << " stopped at " << stop;
      }
    }
  }
}

TEST(Solver, GuidanceIsTheVelocityOfBothBranches) {
  at::manual_seed(3);
  for (const char* kind : kKinds) {
    std::vector<float> sigmas = sigmas_of(kind, 6, 3);
    Solver by_branches = make(kind, sigmas), by_velocity = make(kind, sigmas);
    Tensor x = at::randn({2, 5}), same = x;
    for (int64_t i = 0; i < 6; ++i) {
      const Velocity velocity{at::randn({2, 5}), at::randn({2, 5}), 3.5};
      x = by_branches.step(velocity, x);
      same = by_velocity.step({velocity.unconditional + 3.5 * (velocity.conditional - velocity.unconditional)}, same);
      EXPECT_TRUE(x.equal(same)) << kind << " " << i;
    }
  }
}

TEST(Solver, TheStateOfAnEarlierVersionGivesTheSameBytes) {
  // A run of four steps of UniPC, written as separate operations; its history under the names that files have.
  at::manual_seed(4);
  const std::vector<float> sigmas = {1, 0.75f, 0.5f, 0.25f, 0};
  const Tensor x = at::randn({3, 4}), sample = at::randn({3, 4}), newest = at::randn({3, 4}), older = at::randn({3, 4}),
               velocity = at::randn({3, 4});
  Solver solver(SolverKind::UniPc, sigmas);
  solver.load({{"state", at::tensor({int64_t(2), int64_t(2)}, at::kLong)},
               {"sample", sample},
               {"x0.0", newest},
               {"x0.1", older}},
              at::kCPU);
  const Tensor next = solver.step({velocity}, x);
  const auto lambda = [&](int i) { return std::log(1 - double(sigmas[i])) - std::log(double(sigmas[i])); };
  const Tensor prediction = at::sub(x, velocity, 0.5);
  Tensor corrected = sample * (0.5 / 0.75);
  {
    // r is -infinity: step 0 began at sigma 1.
    const double h = lambda(2) - lambda(1), b = std::expm1(-h), ab = 0.5 * b, f = b / -h - 1, q = f / b;
    corrected.add_(newest, -ab * (1 - q)).add_(older, 0.0).add_(prediction, -ab * q);
  }
  const double h = lambda(3) - lambda(2), ab = 0.75 * std::expm1(-h), slope = 0.5 * ab / ((lambda(2) - lambda(1)) / h);
  const Tensor want = (corrected * (0.25 / 0.5)).add_(prediction, -ab - slope).add_(newest, slope);
  EXPECT_TRUE(next.equal(want)) << max_abs_difference(next, want);
  const std::map<std::string, Tensor> state = solver.save();
  EXPECT_TRUE(state.at("sample").equal(corrected) && state.at("x0.0").equal(prediction) &&
              state.at("x0.1").equal(newest));
  EXPECT_TRUE(state.at("state").equal(at::tensor({int64_t(3), int64_t(2)}, at::kLong)));
  EXPECT_EQ(state.size(), 4u);
}

TEST(Solver, AStepThatDoesNotFallGivesTheCorrectedSample) {
  at::manual_seed(5);
  Solver solver(SolverKind::UniPc, {0.9f, 0.7f, 0.7f, 0});
  const Tensor first = solver.step({at::randn({2, 3})}, at::randn({2, 3})),
               second = solver.step({at::randn({2, 3})}, first);
  EXPECT_TRUE(second.equal(solver.save().at("sample")));
  EXPECT_GT(max_abs_difference(second, first), 1e-3);
}

TEST(Solver, InputsAreLeftAlone) {
  Tensor x = at::ones({3}), velocity = at::full({3}, 0.5);
  for (const char* kind : kKinds) {
    Solver solver = make(kind, {0.9f, 0.9f, 0.5f, 0.0f});
    for (int i = 0; i < 3; ++i) solver.step({velocity}, x);
    EXPECT_TRUE(x.equal(at::ones({3})) && velocity.equal(at::full({3}, 0.5)));
  }
}

TEST(Solver, SurvivesTheEdgesOfSigma) {
  // sigma 1 has lambda -infinity, sigma 0 +infinity; float32 neighbours may be equal at extreme shifts; a list may end
  // above 0.
  const std::vector<float> lists[] = {
      {1, 0}, {1, 0.9f, 0.8f, 0.3f, 0}, {1, 1, 0.9f, 0.9f, 0.9f, 0.5f, 0}, {0.7f, 0.4f, 0.2f}, {0.5f, 0, 0}};
  for (const char* kind : kKinds)
    for (const std::vector<float>& sigmas : lists) {
      Solver solver = make(kind, sigmas);
      Tensor x = run(solver, sigmas, at::full({1}, width_at(sigmas[0]), at::kDouble), solver.steps());
      if (kind == std::string("step_distill")) x = x * 0 + width_at(sigmas.back());  // what it ends at is drawn
      EXPECT_TRUE(std::isfinite(x.item<double>())) << kind << " " << sigmas.size();
      EXPECT_NEAR(x.item<double>(), width_at(sigmas.back()), 0.5) << kind << " " << sigmas.size();
    }
}

// LightX2V a7d70484, WanStepDistillScheduler.step_post and add_noise, written out in float64.
TEST(Solver, StepDistillIsThePublishedStep) {
  at::manual_seed(6);
  const std::vector<float> sigmas = {1, 0.9375f, 5 / 6.f, 0.625f, 0};
  const FreshNoise noise{kSeed, at::kCPU};
  Solver solver(SolverKind::StepDistill, sigmas, 0, noise);
  Tensor x = at::randn({16, 3, 4}), want = x.to(at::kDouble);
  for (size_t i = 0; i < 4; ++i) {
    const Tensor velocity = at::randn({16, 3, 4});
    const double sigma = sigmas[i], next = sigmas[i + 1];
    want = want - sigma * velocity.to(at::kDouble);
    if (i < 3) want = (1 - next) * want + next * noise.of_step(int64_t(i), x).to(at::kDouble);
    x = solver.step({velocity}, x);
    EXPECT_TRUE(is_close(x, want, 1e-6)) << i;  // float32: three roundings of a step, relative
  }
}

TEST(Solver, FreshNoiseFollowsFromSeedAndStep) {
  const Tensor x = at::zeros({64, 64});
  std::vector<Tensor> drawn = {Noise(kSeed, at::kCPU).draw(x.sizes())};  // what the run starts from
  for (uint64_t seed : {kSeed, kSeed + 1, kSeed + (uint64_t(1) << 32)})
    for (int64_t step : {0, 1, 2}) {
      const FreshNoise noise{seed, at::kCPU};
      drawn.push_back(noise.of_step(step, x));
      EXPECT_TRUE(drawn.back().equal(noise.of_step(step, x)));
      EXPECT_NEAR(drawn.back().mean().item<double>(), 0, 0.06);  // 4 of its standard deviations, 1 / 64
      EXPECT_NEAR(drawn.back().std().item<double>(), 1, 0.05);
    }
  for (size_t i = 0; i < drawn.size(); ++i)
    for (size_t j = 0; j < i; ++j) EXPECT_NEAR((drawn[i] * drawn[j]).mean().item<double>(), 0, 0.07) << i << " " << j;
}

TEST(Solver, RefusesWhatItCannotRun) {
  EXPECT_THROW(Solver(SolverKind::StepDistill, {1, 0}), std::invalid_argument);
  EXPECT_THROW(solver_named("heun"), std::invalid_argument);
  EXPECT_THROW(Solver(SolverKind::UniPc, {1}), std::invalid_argument);
  EXPECT_THROW(Solver(SolverKind::UniPc, {0.5f, 0.6f, 0}), std::invalid_argument);
  EXPECT_THROW(Solver(SolverKind::UniPc, {1.5f, 0}), std::invalid_argument);
  EXPECT_THROW(Solver(SolverKind::UniPc, {NAN, 0}), std::invalid_argument);
  EXPECT_THROW(Solver(SolverKind::UniPc, {1, 0}, 2), std::invalid_argument);
  Solver solver(SolverKind::UniPc, {0.9f, 0.5f, 0});
  Tensor x = at::ones({2});
  auto state = [&](int64_t index, int64_t order) {
    return std::map<std::string, Tensor>{{"state", at::tensor({index, order}, at::kLong)}, {"sample", x}, {"x0.0", x}};
  };
  EXPECT_NO_THROW(solver.load(state(1, 1), at::kCPU));
  for (auto [index, order] : {std::pair{-1, 0}, {3, 1}, {1, 2}, {0, 1}, {1, -1}})
    EXPECT_THROW(solver.load(state(index, order), at::kCPU), std::invalid_argument) << index << " " << order;
  EXPECT_THROW(solver.load({}, at::kCPU), std::invalid_argument);
  EXPECT_THROW(solver.load({{"state", at::tensor({1, 1}, at::kLong)}, {"x0.0", x}}, at::kCPU), std::invalid_argument);
  EXPECT_THROW(solver.step({at::ones({3})}, x), c10::Error);
  EXPECT_THROW(solver.step({x, at::ones({3}), 5}, x), c10::Error);
}

}  // namespace
}  // namespace wan
