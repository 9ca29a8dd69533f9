// Servers that end without a word: the one job that may be the reason fails alone, and no other does.
#include "tests/serve/work_scene.h"

#include <signal.h>

#include <algorithm>

namespace wan::serve {
namespace {

using std::chrono::milliseconds;

class EarlierServers : public WorkScene {
 protected:
  EarlierServers() { times_.suspects = milliseconds(0); }

  JobPtr again(const JobPtr& job) { return wait_for(jobs_->find(job->job.id, std::nullopt)); }
  /// Whether a worker works on it and gets nowhere, for the `times`-th time.
  bool until_it_hangs(const JobPtr& job, int64_t times) {
    return until([&] {
      int64_t count = 0;
      for (const auto& line : log()) count += line.value("hangs", "") == job->job.id;
      return count >= times && job->job.turn;
    });
  }
  /// This server ends with its workers, as where the machine has no memory left; the next one begins.
  void restart() {
    end();
    begin();
  }
  bool until_interrupted(const JobPtr& job, int64_t times) {
    return until([&] { return job->job.interruptions == times; });
  }
};

TEST_F(EarlierServers, AJobInWhoseTurnThreeEndedFailsAlone) {
  settings_.window = std::chrono::seconds(100);
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("");
  std::vector<JobPtr> jobs = {submit(""), submit("hang"), submit("")};
  dispatcher_->resume();
  for (int64_t ends = 1; ends <= 3; ++ends) {
    ASSERT_TRUE(until_it_hangs(jobs[1], ends)) << ends;
    ASSERT_EQ(batches().back().size(), ends == 1 ? 3u : 2u) << "they are one batch";
    restart();
    for (JobPtr& job : jobs) job = again(job);
    if (ends == 3) break;
    ASSERT_TRUE(until_interrupted(jobs[1], ends)) << ends;
  }
  ASSERT_TRUE(until_ended(jobs));
  ASSERT_EQ(jobs[1]->job.status, JobStatus::Failed);
  EXPECT_EQ(jobs[1]->job.error->status, 503);
  EXPECT_EQ(jobs[1]->job.error->type, "runner_disconnected");
  const std::string text = jobs[1]->job.error->text();
  EXPECT_NE(text.find("ended 3 times in a row while it worked on this job"), text.npos) << text;
  EXPECT_NE(text.find("send it again"), text.npos) << text;
  EXPECT_EQ(jobs[0]->job.status, JobStatus::Done);
  EXPECT_EQ(jobs[2]->job.status, JobStatus::Done);
  EXPECT_EQ(jobs[2]->job.interruptions, 0) << "it was taken in the same batch, and never computed";
  EXPECT_EQ(rendered(jobs[1]), 3);
  EXPECT_TRUE(no_folders());
}

TEST_F(EarlierServers, AJobThatIsPreparedHasItsTurn) {
  begin();
  const JobPtr job = submit("hang_preparing");
  ASSERT_TRUE(until([&] { return job->job.turn; }));
  EXPECT_EQ(job->job.status, JobStatus::Queued);
  EXPECT_TRUE(std::none_of(reported_.begin(), reported_.end(),
                           [](const std::string& line) { return line.starts_with("[work]"); }));
  restart();
  EXPECT_EQ(std::count(reported_.begin(), reported_.end(), "[work] 1 job waits"), 1);
  EXPECT_TRUE(until_interrupted(again(job), 1));
}

// Jobs of a batch are all prepared before the first one is computed.
TEST_F(EarlierServers, AJobThatWasPreparedBeforeHasItsTurnNoMore) {
  settings_.window = std::chrono::seconds(100);
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("");
  JobPtr hangs = submit("hang"), prepared = submit("prepared");
  dispatcher_->resume();
  ASSERT_TRUE(until_it_hangs(hangs, 1));
  ASSERT_EQ(batches().back().size(), 2u) << "they are one batch";
  EXPECT_FALSE(prepared->job.turn);
  restart();
  hangs = again(hangs), prepared = again(prepared);
  ASSERT_TRUE(until_interrupted(hangs, 1));
  EXPECT_EQ(prepared->job.interruptions, 0);
}

TEST_F(EarlierServers, AStopDuringThePreparationIsNoInterruption) {
  begin();
  JobPtr job = submit("hang_preparing");
  ASSERT_TRUE(until([&] { return job->job.turn; }));
  bool stopped = false;
  boost::asio::co_spawn(*io_, dispatcher_->stop(std::chrono::seconds(30)), [&](std::exception_ptr) { stopped = true; });
  ASSERT_TRUE(until([&] { return stopped; }));
  EXPECT_FALSE(job->job.turn);
  restart();
  job = again(job);
  ASSERT_TRUE(until([&] { return job->job.turn; }));
  EXPECT_EQ(job->job.interruptions, 0);
}

TEST_F(EarlierServers, OneThatSavesMoreEachTimeIsNotTheReason) {
  begin();
  JobPtr job = submit("save_and_hang");
  for (int64_t ends = 1; ends <= 6; ++ends) {
    ASSERT_TRUE(until_it_hangs(job, ends)) << ends;
    restart();
    job = again(job);
    ASSERT_TRUE(until_interrupted(job, 1)) << ends;
  }
  EXPECT_FALSE(is_ended(job->job.status));
}

TEST_F(EarlierServers, ACleanStopBeginsTheCountAnew) {
  begin();
  JobPtr job = submit("slow");
  for (int64_t ends = 1; ends <= 2; ++ends) {
    ASSERT_TRUE(until_running(job));
    restart();
    job = again(job);
    ASSERT_TRUE(until_interrupted(job, ends));
  }
  ASSERT_TRUE(until_running(job));
  bool stopped = false;
  boost::asio::co_spawn(*io_, dispatcher_->stop(std::chrono::seconds(30)), [&](std::exception_ptr) { stopped = true; });
  ASSERT_TRUE(until([&] { return stopped; }));
  EXPECT_EQ(job->job.interruptions, 0);
  EXPECT_FALSE(job->job.turn);
  restart();
  job = again(job);
  ASSERT_TRUE(until_running(job));
  restart();
  EXPECT_TRUE(until_interrupted(again(job), 1));
}

// A server that somebody kills every few seconds, which is no job's fault.
TEST_F(EarlierServers, InOneThatIsKilledSoonNoJobHasItsLastTry) {
  begin();
  JobPtr job = submit("hang");
  for (int64_t ends = 1; ends <= 2; ++ends) {
    ASSERT_TRUE(until_it_hangs(job, ends));
    if (ends == 2) times_.suspects = std::chrono::hours(1);
    restart();
    job = again(job);
    ASSERT_TRUE(until_interrupted(job, ends));
  }
  for (int kills = 0; kills < 4; ++kills) {
    ASSERT_TRUE(until_ended({submit("")})) << "others go on meanwhile";
    restart();
    job = again(job);
  }
  EXPECT_EQ(job->job.status, JobStatus::Queued);
  EXPECT_EQ(job->job.interruptions, 2);
  EXPECT_EQ(rendered(job), 2);
  ASSERT_FALSE(job->logs.empty());
  const std::string told = job->logs.back().message;
  EXPECT_NE(told.find("not within 1 h 0 min of the server's start"), told.npos) << told;
  times_.suspects = milliseconds(300);
  restart();
  job = again(job);
  ASSERT_TRUE(until_it_hangs(job, 3)) << "once the server has been there for so long";
}

TEST_F(EarlierServers, SuspectsHaveTheirLastTryOneAtATime) {
  settings_.devices = {"cuda:0", "cuda:1"};
  begin();
  JobPtr one = submit("hang"), two = submit("hang");
  for (int64_t ends = 1; ends <= 2; ++ends) {
    ASSERT_TRUE(until_it_hangs(one, ends));
    ASSERT_TRUE(until_it_hangs(two, ends));
    restart();
    one = again(one), two = again(two);
    ASSERT_TRUE(until_interrupted(one, ends) && until_interrupted(two, ends));
  }
  ASSERT_TRUE(until_it_hangs(one, 3));
  turn(milliseconds(300));
  EXPECT_EQ(rendered(two), 2) << "while the other has its try";
  restart();
  one = again(one), two = again(two);
  ASSERT_TRUE(until_ended({one}));
  EXPECT_EQ(one->job.status, JobStatus::Failed);
  ASSERT_TRUE(until_it_hangs(two, 3));
  EXPECT_EQ(two->job.interruptions, 2);
}

TEST_F(EarlierServers, ACancelledJobIsNotHeldUpNorJudged) {
  begin();
  JobPtr job = submit("hang");
  for (int64_t ends = 1; ends <= 2; ++ends) {
    ASSERT_TRUE(until_it_hangs(job, ends));
    if (ends == 2) times_.suspects = std::chrono::hours(1);
    restart();
    job = again(job);
    ASSERT_TRUE(until_interrupted(job, ends));
  }
  EXPECT_EQ(cancel(job), CancelAnswer::Requested);
  EXPECT_EQ(job->job.status, JobStatus::Cancelled);
  EXPECT_TRUE(no_folders());
}

// systemd stops a service whose worker the kernel has killed for its memory: that is a death of the worker all the same.
TEST_F(EarlierServers, AWorkerThatIsKilledWhileItsServerStopsHasDied) {
  begin();
  const JobPtr job = submit("hang");
  ASSERT_TRUE(until_it_hangs(job, 1));
  const auto pid = pid_t(dispatcher_->workers().at(0).pid);
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  bool stopped = false;
  boost::asio::co_spawn(*io_, dispatcher_->stop(std::chrono::seconds(30)), [&](std::exception_ptr) { stopped = true; });
  turn(milliseconds(50));
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  ASSERT_TRUE(until([&] { return stopped; }));
  EXPECT_EQ(job->job.status, JobStatus::Queued);
  EXPECT_EQ(job->job.deaths, 1);
}

}  // namespace
}  // namespace wan::serve
