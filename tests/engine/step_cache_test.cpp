// The step cache alone, with forwards that are plain arithmetic: what is reused, kept, saved and computed again.
#include "engine/sampling/step_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>

#include "models/wan/residual.h"
#include "tests/support.h"

namespace wan {
namespace {

constexpr int64_t kFirst = 3;  // Step::index of the first step that is made, as of video to video

/// A run of `patterns[branch]`: 'C' computed, 'r' reused, '.' not there.
struct Planned {
  explicit Planned(const std::vector<std::string>& patterns) {
    std::vector<Step> all;
    reuse.first = kFirst;
    for (size_t i = 0; i < patterns[0].size(); ++i) {
      StepForwards& forwards = reuse.steps.emplace_back();
      for (size_t branch = 0; branch < patterns.size(); ++branch) {
        forwards.has[branch] = patterns[branch][i] != '.';
        forwards.reuses[branch] = patterns[branch][i] == 'r';
      }
      all.push_back({.index = kFirst + int64_t(i), .sigma = float(1 - 0.05 * double(i))});
    }
    schedule = Schedule(SolverKind::Euler, all);
  }
  StepReuse reuse;
  Schedule schedule{SolverKind::Euler, {}};
};

/// Tokens of a step are its latents' mean; the blocks add 10 to those of branch 0 and 20 to those of branch 1, and the
/// step's number times 100; the head is the tokens' mean.
struct Model {
  at::Tensor tokens(const at::Tensor& x) const { return at::full({1, 4, 2}, x.mean().item<float>(), at::kFloat); }

  StepForward forward(const Step& step, const at::Tensor& x) {
    const auto compute = [this, step, x](const BranchList& branches, const SeeBranch* ends) {
      std::vector<at::Tensor> found;
      if (begins) begins();
      for (size_t place = 0; place < branches.size(); ++place) {
        log += std::to_string(step.index) + (branches[place] == 0 ? "c" : "u") + " ";
        if (fails) throw std::runtime_error("no memory");
        const at::Tensor behind = tokens(x) + double(branches[place] + 1) * 10 + double(step.index) * 100;
        if (ends) (*ends)(place, behind);
        found.push_back(head(behind));
      }
      if (fails_behind) throw std::runtime_error("no memory");
      return found;
    };
    return {compute, [this, x] { return tokens(x); }, [this](const at::Tensor& behind) { return head(behind); }};
  }
  at::Tensor head(const at::Tensor& behind) const { return behind.mean().expand({16, 1, 2, 2}).clone(); }

  std::string log = {};                      // "3c 3u 5c": what was computed
  bool fails = false, fails_behind = false;  // before and behind the blocks
  std::function<void()> begins = {};         // called before the blocks of a step
};

at::Tensor latents(double value) {
  return at::full({16, 1, 2, 2}, value, at::kFloat);
}

/// What a computed branch gives, and what one gives that reuses the residual of `step`.
double given(double x, size_t branch, int64_t step) {
  return x + double(branch + 1) * 10 + double(step) * 100;
}

struct StepCaching : testing::Test {
  Log log{[this](std::string_view event, const Log::Fields& fields) {
    if (event != "warning") return;
    warnings.push_back(fields.at("text"));
    jobs.push_back(fields.value("job", "none"));
  }};
  std::vector<std::string> warnings, jobs;  // jobs: whose each warning is

  /// The velocities of step `i` of the run, as numbers.
  std::vector<double> make(StepCache& cache, Model& model, const Planned& run, int64_t i, double x, size_t count = 2) {
    const at::Tensor latent = latents(x);
    std::vector<double> values;
    for (const at::Tensor& velocity :
         cache.velocities(run.schedule[i], latent, count, model.forward(run.schedule[i], latent)))
      values.push_back(velocity[0][0][0][0].item<double>());
    return values;
  }
};

using Values = std::vector<double>;

TEST_F(StepCaching, AReusedBranchIsTheHeadOfFreshTokensAndTheKeptResidual) {
  const Planned run({"CrrC", "CrCC"});
  StepCache cache(run.reuse, at::kFloat, log);
  Model model;
  EXPECT_TRUE(cache.is_on());
  EXPECT_EQ(make(cache, model, run, 0, 1), (Values{given(1, 0, 3), given(1, 1, 3)}));
  EXPECT_EQ(make(cache, model, run, 1, 2), (Values{given(2, 0, 3), given(2, 1, 3)}));
  EXPECT_EQ(make(cache, model, run, 2, 3), (Values{given(3, 0, 3), given(3, 1, 5)}));
  EXPECT_EQ(make(cache, model, run, 3, 4), (Values{given(4, 0, 6), given(4, 1, 6)}));
  EXPECT_EQ(model.log, "3c 3u 5u 6c 6u ");
  EXPECT_TRUE(warnings.empty());
}

TEST_F(StepCaching, OnlyWhatTheNextStepReusesIsKept) {
  const Planned run({"CCrC", "CC.C"});
  StepCache cache(run.reuse, at::kBFloat16, log);
  Model model;
  const auto kept = [&] { return cache.kept(0).defined() + 2 * cache.kept(1).defined(); };
  make(cache, model, run, 0, 1);
  EXPECT_EQ(kept(), 0) << "the next step computes both";
  make(cache, model, run, 1, 1);
  EXPECT_EQ(kept(), 1);
  EXPECT_EQ(cache.kept(0).scalar_type(), at::kBFloat16);
  EXPECT_EQ(cache.kept(0).sizes(), (at::IntArrayRef{1, 4, 2}));
  EXPECT_EQ(make(cache, model, run, 2, 1, 1).size(), 1u);
  EXPECT_EQ(kept(), 1) << "until the step after it begins: this one may yet fail";
  make(cache, model, run, 3, 1);
  EXPECT_EQ(kept(), 0);
}

TEST_F(StepCaching, WhatNoStepNeedsAnyMoreTakesNoMemoryBesideTheBlocks) {
  const Planned run({"CrC", "Cr."});
  StepCache cache(run.reuse, at::kFloat, log);
  Model model;
  make(cache, model, run, 0, 1);
  make(cache, model, run, 1, 1);
  EXPECT_TRUE(cache.kept(1).defined()) << "until the step after it begins";
  int64_t seen = 0;
  model.begins = [&] {
    ++seen;
    EXPECT_FALSE(cache.kept(0).defined());
    EXPECT_FALSE(cache.kept(1).defined()) << "a branch that the step does not have";
  };
  make(cache, model, run, 2, 1, 1);
  EXPECT_EQ(seen, 1);
}

TEST_F(StepCaching, AResidualWithNaNIsComputedAgainAndSaid) {
  const Planned run({"Crr", "Crr"});
  for (const double bad : {double(NAN), double(INFINITY)}) {
    warnings.clear();
    StepCache cache(run.reuse, at::kFloat, log, "b.mp4");
    Model model;
    make(cache, model, run, 0, 1);
    cache.kept(1).view(-1)[3] = bad;
    EXPECT_EQ(make(cache, model, run, 1, 2), (Values{given(2, 0, 3), given(2, 1, 4)}));
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_EQ(
        warnings[0],
        "the residual that is kept of step 4 (unconditional branch) holds NaN or Inf: step 5 is computed instead of "
        "reusing it");
    EXPECT_EQ(jobs.back(), "b.mp4");
    // What was computed serves the step after it.
    EXPECT_EQ(make(cache, model, run, 2, 3), (Values{given(3, 0, 3), given(3, 1, 4)}));
    EXPECT_EQ(model.log, "3c 3u 4u ");
  }
}

/// Makes steps [0, saved) in one process, the rest in another, and returns what the second one gives from there on.
std::pair<std::vector<Values>, std::string> resumed(StepCaching& test, const Planned& run, int64_t saved) {
  std::map<std::string, at::Tensor> state;
  {
    StepCache cache(run.reuse, at::kFloat, test.log);
    Model model;
    for (int64_t i = 0; i < saved; ++i) test.make(cache, model, run, i, double(i));
    state = cache.save(run.schedule, saved);
  }
  StepCache cache(run.reuse, at::kFloat, test.log);
  Model model;
  cache.load(state, run.schedule, at::kCPU);
  for (const StepCache::Lost& lost : cache.take_lost()) cache.restore(lost, model.forward(lost.step, lost.x));
  const std::string again = model.log;
  std::vector<Values> made;
  for (int64_t i = saved; i < run.schedule.size(); ++i) made.push_back(test.make(cache, model, run, i, double(i)));
  return {made, again};
}

TEST_F(StepCaching, ALaterProcessComputesTheKeptStepsAgainWithTheSameBranches) {
  const Planned run({"CrrCrC", "CrCrCC"});
  StepCache whole(run.reuse, at::kFloat, log);
  Model model;
  std::vector<Values> want;
  for (int64_t i = 0; i < run.schedule.size(); ++i) want.push_back(make(whole, model, run, i, double(i)));
  // What is computed again before the next step.
  const std::vector<std::string> again = {"", "3c 3u ", "3c 3u ", "5u ", "6c ", ""};
  for (int64_t saved = 0; saved < run.schedule.size(); ++saved) {
    const auto [made, computed] = resumed(*this, run, saved);
    EXPECT_EQ(made, std::vector<Values>(want.begin() + saved, want.end())) << saved;
    EXPECT_EQ(computed, again[size_t(saved)]) << saved;
  }
}

TEST_F(StepCaching, KeptStepsAreComputedAgainInTheirOrder) {
  // Before its third step one branch keeps the second step, the other one the first step, in which both were computed.
  const Planned run({"CCrC", "CrrC"});
  const auto [made, computed] = resumed(*this, run, 2);
  EXPECT_EQ(computed, "3c 3u 4c ");
  EXPECT_EQ(made,
            (std::vector<Values>{Values{given(2, 0, 4), given(2, 1, 3)}, Values{given(3, 0, 6), given(3, 1, 6)}}));
}

TEST_F(StepCaching, AStateThatIsSavedWithinAStepIsThatBeforeIt) {
  const Planned run({"CrrC", "CrCC"});
  StepCache cache(run.reuse, at::kFloat, log);
  Model model;
  make(cache, model, run, 0, 1);
  make(cache, model, run, 1, 2);
  model.fails = true;  // while the other branch of step 2 is computed, when its residual was reused for the first one
  EXPECT_THROW(make(cache, model, run, 2, 3), std::runtime_error);
  const auto state = cache.save(run.schedule, 2);
  ASSERT_TRUE(state.contains("steps"));
  EXPECT_TRUE(state.at("steps").equal(at::tensor({0, 3, 1}, at::kLong).view({1, 3})));
  EXPECT_TRUE(state.at("x.0").equal(latents(1)));
  StepCache later(run.reuse, at::kFloat, log);
  Model again;
  later.load(state, run.schedule, at::kCPU);
  for (const StepCache::Lost& lost : later.take_lost()) later.restore(lost, again.forward(lost.step, lost.x));
  EXPECT_EQ(make(later, again, run, 2, 3), (Values{given(3, 0, 3), given(3, 1, 5)}));
}

TEST_F(StepCaching, WhatAStepComputedThatFailedIsNotSaved) {
  const Planned run({"Crr", "Crr"});
  StepCache cache(run.reuse, at::kFloat, log);
  Model model;
  make(cache, model, run, 0, 1);
  cache.kept(1).fill_(NAN);  // so that this branch is computed, and kept for the step after it
  model.fails_behind = true;
  EXPECT_THROW(make(cache, model, run, 1, 2), std::runtime_error);
  EXPECT_TRUE(cache.kept(1).defined());
  const auto state = cache.save(run.schedule, 1);
  ASSERT_TRUE(state.contains("steps"));
  EXPECT_TRUE(state.at("steps").equal(at::tensor({0, 3, 1}, at::kLong).view({1, 3})));
}

TEST_F(StepCaching, AStateThatIsSavedAgainBeforeAnyStepIsTheSame) {
  const Planned run({"CrrC", "CrCC"});
  StepCache cache(run.reuse, at::kFloat, log);
  Model model;
  make(cache, model, run, 0, 1);
  const auto state = cache.save(run.schedule, 1);
  StepCache later(run.reuse, at::kFloat, log);
  later.load(state, run.schedule, at::kCPU);
  const auto again = later.save(run.schedule, 1);
  ASSERT_EQ(again.size(), state.size());
  for (const auto& [name, tensor] : state) EXPECT_TRUE(again.at(name).equal(tensor)) << name;
}

TEST_F(StepCaching, NothingIsSavedWhereTheNextStepReusesNothing) {
  const Planned run({"CrCC", "CrCC"});
  StepCache cache(run.reuse, at::kFloat, log);
  Model model;
  EXPECT_TRUE(cache.save(run.schedule, 0).empty());
  make(cache, model, run, 0, 1);
  EXPECT_EQ(cache.save(run.schedule, 1).size(), 2u);
  make(cache, model, run, 1, 1);
  EXPECT_TRUE(cache.save(run.schedule, 2).empty());
  EXPECT_TRUE(cache.save(run.schedule, 4).empty()) << "behind the last step";
}

TEST_F(StepCaching, AStateOfAnotherRunIsRefused) {
  const Planned run({"CrCC", "CrCC"});
  const auto state = [&](std::vector<int64_t> numbers, const at::Tensor& x) {
    return std::map<std::string, at::Tensor>{{"steps", at::tensor(numbers, at::kLong).view({-1, 3})}, {"x.0", x}};
  };
  const auto load = [&](const std::map<std::string, at::Tensor>& saved) {
    StepCache cache(run.reuse, at::kFloat, log);
    cache.load(saved, run.schedule, at::kCPU);
    return cache.take_lost().size();
  };
  EXPECT_EQ(load(state({0, 3, 3}, latents(1))), 1u);
  EXPECT_EQ(load({}), 0u);
  for (const std::vector<int64_t>& numbers : std::vector<std::vector<int64_t>>{
           {4, 3, 3}, {-1, 3, 3}, {0, 4, 4}, {0, 0, 0}, {0, 1, 2}, {0, 1, 0}, {0, 3, 3, 0, 3, 3, 0, 3, 3}})
    EXPECT_THROW(load(state(numbers, latents(1))), std::invalid_argument);
  EXPECT_THROW(load(state({0, 3, 3}, at::zeros({2}))), std::invalid_argument);
  EXPECT_THROW(load({{"steps", at::tensor({0, 3, 3}, at::kLong).view({1, 3})}}), std::invalid_argument);
  EXPECT_THROW(load({{"x.0", latents(1)}}), std::invalid_argument);
  EXPECT_THROW(load({{"steps", at::zeros({1, 3})}, {"x.0", latents(1)}}), std::invalid_argument) << "floats";
}

TEST(Residual, IsWhatTheBlocksAdd) {
  const at::Tensor tokens = at::randn({1, 5, 3}), before = at::randn({1, 5, 3});
  const at::Tensor residual = residual_of(tokens, before.clone(), at::kFloat);
  EXPECT_TRUE(residual.equal(tokens - before));
  EXPECT_TRUE(residual_of(tokens, before.clone(), at::kBFloat16).equal((tokens - before).to(at::kBFloat16)));
  EXPECT_TRUE(with_residual(before.clone(), residual).equal(before + residual));
  const at::Tensor half = residual.to(at::kBFloat16);
  EXPECT_TRUE(with_residual(before.clone(), half).equal(before + half.to(at::kFloat))) << "added in float32";
}

}  // namespace
}  // namespace wan
