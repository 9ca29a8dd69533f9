// Jobs of a run that end by themselves: one that is taken back, each one's end as it comes, and ids of equal ones.
#include <gtest/gtest.h>

#include "engine/job/scheduler.h"
#include "engine/request/parse.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kModel = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";

/// Takes the second of three jobs back: before its denoising step `step`, counted over both experts.
struct TakesBack : Progress {
  explicit TakesBack(int64_t step) : step(step) {}
  void at(const Report& report) override {
    if (report.stage != Stage::Denoise || !report.job.starts_with("2/3")) return;
    EXPECT_FALSE(thrown) << "nothing is computed of it any more";
    if (report.step != step) return;
    thrown = true;
    throw Withdrawn();
  }
  int64_t step;
  bool thrown = false;
};

class Withdrawal : public testing::Test {
 protected:
  Request request(uint64_t seed, const std::string& out) const {
    const nlohmann::json fields = {
        {"model", kModel.string()}, {"prompt", "a red circle"}, {"unlocked", true}, {"width", 32},  {"height", 32},
        {"num_frames", 5},          {"num_inference_steps", 4}, {"device", "cpu"},  {"seed", seed}, {"out", out}};
    return parse(Task::T2V, fields, {.folder = folder_.path()});
  }
  std::vector<JobRequest> three() const {
    std::vector<JobRequest> jobs;
    for (int64_t number : {1, 2, 3})
      jobs.push_back({.line = number, .request = request(uint64_t(number), std::to_string(number) + ".mp4")});
    return jobs;
  }
  RunResult run(const std::vector<JobRequest>& jobs, const RunOptions& options, Progress& progress,
                const Log& log = {}) {
    c10::InferenceMode inference;
    WorkFolder work(folder_ / "work", 1);
    return run_jobs(jobs, work, options, log, progress);
  }
  /// How many files of jobs lie in the work folder.
  int64_t waiting() const {
    int64_t count = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / "work"))
      count += entry.path().extension() == ".safetensors";
    return count;
  }
  void remove_all() {
    fs::remove_all(folder_ / "work");
    for (int64_t number : {1, 2, 3}) fs::remove(folder_ / (std::to_string(number) + ".mp4"));
  }

  TemporaryFolder folder_;
};

TEST_F(Withdrawal, EndsThatJobAlone) {
  for (const bool given_order : {false, true})
    for (const int64_t step : {0, 1, 3}) {
      SCOPED_TRACE(std::to_string(step) + (given_order ? " given" : " phases"));
      remove_all();
      int64_t failed = 0;
      const Log log{[&](std::string_view event, const Log::Fields&) { failed += event == "failed"; }};
      TakesBack progress(step);
      const std::vector<JobRequest> jobs = three();
      const RunResult result =
          run(jobs, {.given_order = given_order, .fail_fast = true, .save_every = {}}, progress, log);
      EXPECT_TRUE(progress.thrown);
      EXPECT_FALSE(result.cancelled);
      EXPECT_EQ(failed, 0) << "the user did it";
      EXPECT_EQ(result.jobs[1].state, JobState::Failed);
      ASSERT_TRUE(result.jobs[1].failure);
      EXPECT_THROW(std::rethrow_exception(result.jobs[1].failure), Withdrawn);
      EXPECT_FALSE(fs::exists(jobs[1].request.out));
      for (const size_t other : {0, 2}) {
        EXPECT_EQ(result.jobs[other].state, JobState::Done) << result.jobs[other].error;
        EXPECT_TRUE(bytes_of(jobs[other].request.out) == rendered_alone(jobs[other].request));
      }
      EXPECT_EQ(waiting(), 0) << "nothing stays of it";
    }
}

TEST_F(Withdrawal, BeforeAJobIsPreparedItLeavesNothingOfAnEarlierRun) {
  Steps few(5);
  std::vector<JobRequest> jobs = three();
  EXPECT_TRUE(run(jobs, {.save_every = {}}, few).cancelled);
  EXPECT_GT(waiting(), 0);
  const auto take_back = [](const JobResult& job) {
    if (job.line != 3) throw Withdrawn();
  };
  Silent silent;
  const RunResult result = run(jobs, {.save_every = {}, .on_job = take_back}, silent);
  EXPECT_EQ(result.count(JobState::Failed), 2);
  EXPECT_EQ(result.jobs[2].state, JobState::Done) << result.jobs[2].error;
  EXPECT_FALSE(fs::exists(jobs[0].request.out));
}

TEST_F(Withdrawal, EachEndIsToldAsItComes) {
  std::vector<JobRequest> jobs = three();
  jobs[1].request.model = (folder_ / "absent").string();
  std::vector<std::string> told;
  const RunOptions options{.given_order = true,
                           .save_every = {},
                           .on_job = [&](const JobResult& job) { told.push_back("at " + std::to_string(job.line)); },
                           .on_end =
                               [&](const JobResult& job) {
                                 told.push_back("end " + std::to_string(job.line));
                                 EXPECT_EQ(fs::exists(job.request.out), job.state != JobState::Failed);
                               }};
  Silent silent;
  run(jobs, options, silent);
  const std::vector<std::string> prepared = {"at 1", "at 2", "end 2", "at 3"};
  ASSERT_GT(told.size(), prepared.size());
  EXPECT_TRUE(std::equal(prepared.begin(), prepared.end(), told.begin()));
  const auto place = [&](const std::string& what) { return std::find(told.begin(), told.end(), what) - told.begin(); };
  EXPECT_LT(place("end 1"), place("end 3"));
  EXPECT_EQ(told.at(size_t(place("end 1")) - 1), "at 1");
  EXPECT_EQ(told.back(), "end 3");
  EXPECT_EQ(std::count(told.begin(), told.end(), "end 1"), 1);

  told.clear();
  run(jobs, options, silent);
  EXPECT_EQ(told, (std::vector<std::string>{"at 1", "end 1", "at 2", "end 2", "at 3", "end 3"})) << "kept ones, too";
}

TEST_F(Withdrawal, EqualJobsAreToldApartByTheirIds) {
  const JobRequest first{.line = 1, .request = request(7, "1.mp4"), .id = "first"},
      second{.line = 2, .request = request(7, "2.mp4"), .id = "second"};
  Silent silent;
  EXPECT_EQ(run({first, second}, {.save_every = {}}, silent).count(JobState::Done), 2);
  Steps counted;
  const RunResult alone = run({second}, {.save_every = {}}, counted);
  EXPECT_EQ(alone.jobs[0].state, JobState::Kept) << alone.jobs[0].error;
  EXPECT_EQ(run({second, first}, {.save_every = {}}, counted).count(JobState::Kept), 2) << "in any order";
  EXPECT_EQ(counted.made, 0);
}

}  // namespace
}  // namespace wan
