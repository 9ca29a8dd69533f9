// What wan-infer calibrate measures, on residuals that are made up.
#include "engine/sampling/residual_meter.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
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

/// The latents before a step, which tell it.
at::Tensor latents(int64_t step) {
  return at::full({1, 1, 1, 1}, double(step));
}

/// A forward of this step whose residual has this norm, in both branches or one.
void forward(ResidualMeter& meter, const Step& step, double norm, size_t branches = 2) {
  const SeeBranch* see = meter.see(step, latents(step.index), [] { return at::zeros({1, 3, 2}); });
  for (size_t branch = 0; branch < branches; ++branch) (*see)(branch, at::full({1, 3, 2}, norm * double(branch + 1)));
}

/// One run whose residuals have these norms.
void run(ResidualMeter& meter, const Schedule& schedule, const std::vector<double>& norms, size_t branches = 2,
         const char* name = "one") {
  meter.begin(name, schedule);
  for (int64_t i = 0; i < schedule.size(); ++i) forward(meter, schedule[i], norms[size_t(i)], branches);
  meter.end();
}

TEST(ResidualMeter, MeansAreOverRunsAndNeverAcrossExperts) {
  const Schedule schedule = schedule_of({true, true, false, false});
  ResidualMeter meter(at::kFloat);
  run(meter, schedule, {1, 2, 10, 5});
  run(meter, schedule, {1, 4, 10, 20}, 2, "two");
  EXPECT_TRUE(meter.knows("one") && meter.knows("two"));
  EXPECT_FALSE(meter.knows("three"));
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
  torn.begin("torn", schedule);
  for (int64_t i : {0, 2}) forward(torn, schedule[i], 1, 1);
  EXPECT_TRUE(torn.save(schedule[2].index + 1).at("changes")[2][0][0].isnan().item<bool>()) << "two steps apart";
  torn.end();
  EXPECT_THROW(torn.means(schedule), std::runtime_error);
  ResidualMeter open(at::kFloat);
  open.begin("open", schedule);
  for (const Step& step : schedule) forward(open, step, 1);
  EXPECT_THROW(open.means(schedule), std::runtime_error) << "a run counts when it has ended";
  ResidualMeter zero(at::kFloat);
  EXPECT_THROW(run(zero, schedule, {0, 1, 1}), std::runtime_error) << "a norm of 0, told before the next run begins";
  EXPECT_FALSE(zero.knows("one"));
}

TEST(ResidualMeter, ASavedRunGoesOnWithTheSameFigures) {
  const Schedule schedule = schedule_of({true, true, true, false, false});
  const std::vector<double> norms = {1, 3, 4, 10, 7};
  ResidualMeter whole(at::kFloat);
  run(whole, schedule, norms);
  for (int64_t stop = 0; stop <= schedule.size(); ++stop) {
    SCOPED_TRACE(stop);
    ResidualMeter first(at::kFloat);
    first.begin("one", schedule);
    for (int64_t i = 0; i < stop; ++i) forward(first, schedule[i], norms[size_t(i)]);
    auto state = first.save(stop);
    EXPECT_EQ(state.contains("x"), stop == 1 || stop == 2 || stop == 4) << "where a step of the same expert follows";
    // Interrupted once more before any step, and once within the next one.
    ResidualMeter second(at::kFloat);
    second.begin("one", schedule);
    second.load(state, stop, at::kCPU);
    state = second.save(stop);
    if (const auto lost = second.take_lost()) {
      EXPECT_EQ(lost->step.index, schedule[stop - 1].index);
      EXPECT_TRUE(lost->x.equal(latents(lost->step.index)));
      forward(second, lost->step, norms[size_t(stop - 1)]);
    }
    if (stop < schedule.size()) forward(second, schedule[stop], norms[size_t(stop)], 1);
    state = second.save(stop);
    ResidualMeter third(at::kFloat);
    third.begin("one", schedule);
    third.load(state, stop, at::kCPU);
    if (const auto lost = third.take_lost()) forward(third, lost->step, norms[size_t(stop - 1)]);
    EXPECT_FALSE(third.take_lost()) << "once";
    for (int64_t i = stop; i < schedule.size(); ++i) forward(third, schedule[i], norms[size_t(i)]);
    third.end();
    EXPECT_EQ(third.means(schedule), whole.means(schedule));
  }
}

TEST(ResidualMeter, WholeRunsAreKeptAndComeBack) {
  const Schedule schedule = schedule_of({true, true});
  std::map<std::string, RunChanges> kept;
  ResidualMeter meter(at::kFloat, [&](const std::string& name, const RunChanges& changes) { kept[name] = changes; });
  run(meter, schedule, {1, 2}, 2, "one");
  run(meter, schedule, {1, 4}, 2, "two");
  ASSERT_EQ(kept.size(), 2u);
  ResidualMeter other(at::kFloat);
  for (const auto& [name, changes] : kept) other.add(name, changes);
  EXPECT_TRUE(other.knows("two"));
  EXPECT_EQ(other.means(schedule), meter.means(schedule));
}

TEST(ResidualMeter, AStateOfAnotherRunIsRefused) {
  const Schedule schedule = schedule_of({true, true, true}), longer = schedule_of({true, true, true, true});
  ResidualMeter meter(at::kFloat);
  meter.begin("one", schedule);
  for (int64_t i : {0, 1}) forward(meter, schedule[i], 1);
  const auto state = meter.save(2);
  ResidualMeter other(at::kFloat);
  other.begin("one", longer);
  EXPECT_THROW(other.load(state, 2, at::kCPU), std::invalid_argument);
  other.begin("one", schedule);
  EXPECT_THROW(other.load({}, 2, at::kCPU), std::invalid_argument) << "of a render";
  EXPECT_THROW(other.load(state, 0, at::kCPU), std::invalid_argument) << "no step is before the first";
}

}  // namespace
}  // namespace wan
