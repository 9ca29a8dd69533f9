// What wan-infer calibrate measures, on residuals that are made up.
#include "engine/sampling/residual_meter.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "tests/support.h"

namespace wan {
namespace {

TEST(ResidualMeter, TheRatioIsTheMeanOfThatOfEachToken) {
  // Tokens of norm 5 and 1; then 10 and 3: ratios 2 and 3, the second turned by 90 degrees.
  const at::Tensor before = at::tensor({3., 4., 1., 0.}).to(at::kFloat).view({1, 2, 2}),
                   now = at::tensor({6., 8., 0., 3.}).to(at::kFloat).view({1, 2, 2});
  const ResidualChange change = change_of(now, before);
  EXPECT_NEAR(change.ratio, 2.5, 1e-6) << "not sqrt(109 / 26) = 2.05";
  EXPECT_NEAR(change.deviation, std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(change.cosine_distance, 0.5, 1e-6);
  const ResidualChange same = change_of(now, now);
  EXPECT_NEAR(same.ratio, 1, 1e-7);
  EXPECT_NEAR(same.cosine_distance, 0, 1e-6);
  const at::Tensor many = at::randn({1, 5000, 4});
  EXPECT_NEAR(change_of(many * 0.5, many).ratio, 0.5, 1e-6) << "in pieces";
}

Schedule schedule_of(const std::vector<bool>& high) {
  std::vector<Step> steps;
  for (size_t i = 0; i < high.size(); ++i)
    steps.push_back({.index = 2 + int64_t(i), .sigma = float(0.9 - 0.1 * double(i)), .high = high[i]});
  return Schedule(SolverKind::Euler, steps);
}

/// One run whose residuals have these norms, in both branches or one.
void run(ResidualMeter& meter, const Schedule& schedule, const std::vector<double>& norms, size_t branches = 2) {
  meter.begin();
  for (int64_t i = 0; i < schedule.size(); ++i) {
    const SeeBranch* see = meter.see(schedule[i], [] { return at::zeros({1, 3, 2}); });
    for (size_t branch = 0; branch < branches; ++branch)
      (*see)(branch, at::full({1, 3, 2}, norms[size_t(i)] * double(branch + 1)));
  }
}

TEST(ResidualMeter, MeansAreOverRunsAndNeverAcrossExperts) {
  const Schedule schedule = schedule_of({true, true, false, false});
  ResidualMeter meter(at::kFloat);
  run(meter, schedule, {1, 2, 10, 5});
  run(meter, schedule, {1, 4, 10, 20});
  const std::vector<CalibratedStep> steps = meter.means(schedule);
  ASSERT_EQ(steps.size(), 4u);
  for (size_t branch : {kConditional, kUnconditional}) {
    EXPECT_FALSE(steps[0].changes[branch].has_value());
    EXPECT_NEAR(steps[1].changes[branch]->ratio, 3, 1e-6);
    EXPECT_FALSE(steps[2].changes[branch].has_value()) << "another expert";
    EXPECT_NEAR(steps[3].changes[branch]->ratio, 1.25, 1e-6);
  }
  EXPECT_EQ(steps[1].sigma, double(schedule[1].sigma));
  EXPECT_TRUE(steps[1].high);
  EXPECT_FALSE(steps[3].high);
}

TEST(ResidualMeter, WithoutGuidanceThereIsOneBranch) {
  const Schedule schedule = schedule_of({true, true});
  ResidualMeter meter(at::kFloat);
  run(meter, schedule, {1, 2}, 1);
  const std::vector<CalibratedStep> steps = meter.means(schedule);
  EXPECT_TRUE(steps[1].changes[kConditional].has_value());
  EXPECT_FALSE(steps[1].changes[kUnconditional].has_value());
}

TEST(ResidualMeter, StepsThatWereNotComparedAreTold) {
  const Schedule schedule = schedule_of({true, true, true});
  ResidualMeter none(at::kFloat);
  EXPECT_THROW(none.means(schedule), std::runtime_error);
  // A run that is broken off and goes on has lost the step before.
  ResidualMeter torn(at::kFloat);
  torn.begin();
  for (int64_t i : {0, 2}) {
    const SeeBranch* see = torn.see(schedule[i], [] { return at::zeros({1, 3, 2}); });
    (*see)(0, at::ones({1, 3, 2}));
  }
  EXPECT_THROW(torn.means(schedule), std::runtime_error);
  ResidualMeter zero(at::kFloat);
  run(zero, schedule, {0, 1, 1});
  EXPECT_THROW(zero.means(schedule), std::runtime_error) << "a norm of 0";
}

}  // namespace
}  // namespace wan
