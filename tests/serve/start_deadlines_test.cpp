// Deadlines to start, by a clock that nobody sets.
#include "engine/serve/work/start_deadlines.h"

#include <gtest/gtest.h>

namespace wan::serve {
namespace {

using std::chrono::milliseconds;
using Clock = StartDeadlines::Clock;

constexpr int64_t kWall = 1'764'000'000'000, kHour = 3'600'000;

JobPtr waits(int64_t created, std::optional<int64_t> given) {
  auto job = std::make_shared<LiveJob>();
  job->job.created = created;
  if (given) job->job.start_before = created + *given;
  return job;
}

TEST(StartDeadlines, RunFromTheMomentOfAcceptance) {
  StartDeadlines deadlines;
  const Clock::time_point now = Clock::now();
  // The clock was an hour ahead when the job came, and was set right since.
  const JobPtr job = waits(kWall + kHour, 500), without = waits(kWall, {});
  deadlines.add_new(job, now);
  deadlines.add_new(without, now);
  EXPECT_EQ(deadlines.size(), 1u);
  EXPECT_TRUE(deadlines.take_late(now + milliseconds(500)).empty());
  EXPECT_EQ(deadlines.take_late(now + milliseconds(501)), std::vector{job});
  EXPECT_EQ(deadlines.size(), 0u);
}

TEST(StartDeadlines, OfAnEarlierProcessHaveWhatIsLeftAndNeverMore) {
  StartDeadlines deadlines;
  const Clock::time_point now = Clock::now();
  const JobPtr half = waits(kWall - 500, 1000), late = waits(kWall - kHour, 1000), ahead = waits(kWall + kHour, 1000);
  for (const JobPtr& job : {half, late, ahead}) deadlines.add_earlier(job, now, kWall);
  EXPECT_EQ(deadlines.take_late(now + milliseconds(1)), std::vector{late});
  EXPECT_EQ(deadlines.take_late(now + milliseconds(501)), std::vector{half});
  EXPECT_EQ(deadlines.take_late(now + milliseconds(1001)), std::vector{ahead}) << "not an hour and a second";
}

TEST(StartDeadlines, LeaveWithTheirJobs) {
  StartDeadlines deadlines;
  const Clock::time_point now = Clock::now();
  std::vector<JobPtr> jobs;
  for (int i = 0; i < 6; ++i) {
    jobs.push_back(waits(kWall, 100'000'000'000));
    deadlines.add_new(jobs.back(), now);
  }
  EXPECT_EQ(deadlines.size(), 6u);
  jobs[0]->job.status = JobStatus::Cancelled;
  jobs[1]->job.status = JobStatus::Running;
  jobs[2]->job.started = kWall;  // it began, and waits for another worker
  jobs[3]->cancelling = true;
  jobs[4].reset();
  EXPECT_TRUE(deadlines.take_late(now).empty());
  EXPECT_EQ(deadlines.size(), 1u) << "years before they would be due";
}

}  // namespace
}  // namespace wan::serve
