// The plan, the check and the run of a job say the same: whether it fits, and how much of the device it takes.
#include <cstdio>

#include "engine/job/check.h"
#include "engine/residency/job_plan.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

/// Which phases of a plan a phase of a run is.
const std::map<std::string, std::vector<std::string>> kPhases = {
    {"inputs", {"encode"}},       {"prompts", {"text"}},  {"high_noise", {"high_noise"}},
    {"low_noise", {"low_noise"}}, {"decode", {"decode"}}, {"speech", {"encode", "speech", "decode"}}};

class PlannedRun : public DeviceMemory {
 protected:
  /// The refusal of the plan; empty where it fits.
  std::string planned(const Request& request, Plan& plan) const {
    try {
      plan = job_plan(request, {}).plan;
    } catch (const InvalidRequest& refused) {
      return refused.errors.at(0).line();
    }
    return "";
  }
  std::string checked(const Request& request) const {
    Silent silent;
    const std::vector<JobRequest> jobs = {{.line = 1, .request = request}};
    const std::exception_ptr failure =
        check_jobs(jobs, {.given_order = true, .work = folder_ / "work", .scratch = folder_ / "scratch"}, silent)
            .at(0)
            .failure;
    try {
      if (failure) std::rethrow_exception(failure);
    } catch (const InvalidRequest& refused) {
      return refused.errors.at(0).line();
    }
    return "";
  }

  /// Under limits from all that is wanted to the least, and below.
  void expect_agreement(const Request& request, bool renders) {
    const auto [least, all] = limits_of(request);
    std::string want = renders ? rendered(request) : "";
    std::set<std::string> ways;
    for (int part = -1; part <= 12; ++part) {
      const uint64_t limit = part < 0 ? least - 1 : least + (all - least) * uint64_t(part) / 12;
      const Request under = limited(request, limit);
      SCOPED_TRACE(std::to_string(limit) + " bytes of " + std::to_string(least) + " to " + std::to_string(all));
      Plan plan;
      const std::string refusal = planned(under, plan);
      EXPECT_EQ(refusal, checked(under));
      EXPECT_EQ(refusal.empty(), part >= 0) << refusal;
      if (!refusal.empty()) {
        EXPECT_TRUE(refusal.starts_with("[device_memory] must hold ")) << refusal;
        try {
          rendered(under);
          ADD_FAILURE() << "runs, and does not fit";
        } catch (const InvalidRequest& refused) {
          EXPECT_EQ(refused.errors.at(0).line(), refusal);
        }
        continue;
      }
      if (!renders) continue;
      Told told;
      EXPECT_TRUE(rendered(under, told) == want);
      EXPECT_TRUE(told.memory.empty()) << told.memory.at(0);
      for (const auto& [phase, bytes] : told.phases) {
        uint64_t most = 0;
        for (const std::string& name : kPhases.at(phase))
          if (const PhasePlan* found = plan.phase(name)) most = std::max(most, found->device_bytes);
        EXPECT_LE(bytes, most) << phase;
        EXPECT_GT(bytes, 0u) << phase;
        // Where all networks stay, those of later phases are counted from the start.
        if (!plan.keeps_all) {
          EXPECT_GE(double(bytes), 0.9 * double(most)) << phase << ": the plan asks for more than is taken";
        }
      }
      // As many blocks stay as the plan says.
      for (const PhasePlan& phase : plan.phases) {
        const NetworkPlan& placed = phase.networks.at(0);
        if (placed.residency == Residency::Host) continue;
        EXPECT_EQ(told.streamed.at(name(placed.network)), placed.blocks - placed.kept_blocks) << phase.name;
      }
      ways.insert(plan.keeps_all ? "all" : plan.keeps_experts ? "experts" : "one");
    }
    if (renders && request.task == Task::T2V) {
      EXPECT_EQ(ways, (std::set<std::string>{"all", "experts", "one"}));
    }
  }
};

TEST_F(PlannedRun, OfTextToVideoAgrees) {
  expect_agreement(request(Task::T2V, kNano), true);
}
TEST_F(PlannedRun, OfAPictureAgrees) {
  expect_agreement(request(Task::I2V, deeper_model()), true);
}
TEST_F(PlannedRun, OfSpeechAgrees) {
  expect_agreement(
      request(Task::S2V, kCheckpoints / "Wan2.2-S2V-14B", {{"num_inference_steps", 2}, {"max_seconds", 0.3}}), true);
}

TEST_F(PlannedRun, OfStepsOfOneExpertAgrees) {
  const Request weak = request(Task::V2V, kNano, {{"strength", 0.3}});
  ASSERT_EQ(workload(weak).high_steps, 0);
  expect_agreement(weak, true);
}

TEST_F(PlannedRun, AnotherSizeThatIsNamedFits) {
  const Request large = request(Task::T2V, kNano, {{"width", 256}, {"height", 256}, {"num_frames", 17}});
  const uint64_t limit = limits_of(large).first - 1;
  Plan plan;
  const std::string refusal = planned(limited(large, limit), plan), words = "; the largest that fits is ";
  const size_t at = refusal.find(words);
  ASSERT_NE(at, std::string::npos) << refusal;
  int width = 0, height = 0, frames = 0;
  ASSERT_EQ(std::sscanf(refusal.c_str() + at + words.size(), "%dx%d with %d", &width, &height, &frames), 3) << refusal;
  const Request named = request(Task::T2V, kNano, {{"width", width}, {"height", height}, {"num_frames", frames}});
  EXPECT_EQ(planned(limited(named, limit), plan), "");
}

TEST_F(PlannedRun, ADescribedCardIsLimitedToo) {
  const Request wanted = request(Task::T2V, kNano);
  const JobPlan made = job_plan(limited(wanted, 3'000'000'000), {.gpu = "4090"}),
                free = job_plan(wanted, {.gpu = "4090"});
  EXPECT_EQ(made.machine.budget, 3'000'000'000u);
  // What is free on the host changes by itself from one look to the next.
  EXPECT_NEAR(double(made.machine.host_available), double(free.machine.host_available), 1e9)
      << "is no part of the host";
  EXPECT_GT(free.machine.budget, 20'000'000'000u);
  EXPECT_EQ(job_plan(limited(wanted, 90'000'000'000), {.gpu = "4090"}).machine.budget, free.machine.budget);
}

}  // namespace
}  // namespace wan
