// Jobs on workers that do their work, and on workers that die, hang or talk nonsense.
#include "tests/serve/work_scene.h"

#include <signal.h>

#include <thread>

#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

class Dispatching : public WorkScene {};

TEST_F(Dispatching, AJobIsRenderedAndWhatCameOfItIsTold) {
  begin();
  const JobPtr job = submit({{"seed", 5}, {"safety", {{"action", "blur"}, {"flagged", true}}}});
  ASSERT_TRUE(until_ended({job}));
  ASSERT_EQ(job->job.status, JobStatus::Done);
  ASSERT_TRUE(job->job.output.has_value());
  EXPECT_TRUE(job->job.output->is_flagged()) << job->job.output->safety;
  EXPECT_EQ(job->job.output->seed, 5u);
  EXPECT_EQ(job->job.output->prompt, "a cat");
  EXPECT_EQ(job->job.output->seconds, 10);
  std::ifstream video(output(job));
  std::string text;
  std::getline(video, text);
  EXPECT_EQ(text, "video of " + job->job.id);
  EXPECT_EQ(job->job.output->bytes, text.size());
  EXPECT_EQ(job->progress.preview, 1);
  EXPECT_EQ(job->progress.expert, "high");
  ASSERT_EQ(job->logs.size(), 1u);
  EXPECT_EQ(job->logs[0].message, "step 1 of 2");
  EXPECT_TRUE(no_folders());
  ASSERT_TRUE(until([&] { return dispatcher_->workers().at(0).device_bytes == 123; }));
  const WorkerState worker = dispatcher_->workers().at(0);
  EXPECT_EQ(worker.name, "a fake card");
  EXPECT_EQ(worker.stage_seconds.at("decode"), 1.5);
  for (const auto& line : log()) {
    if (line.contains("start")) {
      EXPECT_EQ(line["start"], (nlohmann::json{"worker", "--device", "cpu"}));
      EXPECT_EQ(line["files"], (nlohmann::json{0, 1, 2})) << "it holds no file of the server";
    }
    if (line.value("do", "") == "render") {
      EXPECT_EQ(line["jobs"][0]["fields"]["model"], "/models/t2v");
    }
  }
}

TEST_F(Dispatching, JobsOfOneModelGoTogetherWithinTheWindow) {
  settings_.window = std::chrono::seconds(25);
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("the disk is full");
  EXPECT_EQ(dispatcher_->paused(), "the disk is full");
  std::vector<JobPtr> jobs;
  for (int i = 0; i < 4; ++i) jobs.push_back(submit());
  jobs.push_back(submit({{"model", "/models/other"}}));
  turn(milliseconds(100));
  EXPECT_EQ(batches().size(), 1u) << "nothing begins while it is paused";
  const auto forecast = dispatcher_->forecast(*jobs[1]);
  ASSERT_TRUE(forecast.has_value());
  EXPECT_EQ(*forecast, std::pair(10.0, 20.0));
  dispatcher_->resume();
  ASSERT_TRUE(until_ended(jobs));
  const auto given = batches();
  ASSERT_EQ(given.size(), 4u);
  // Each of the others holds the first one up by the 10 s that the first job took.
  EXPECT_EQ(given[1], (std::vector<std::string>{jobs[0]->job.id, jobs[1]->job.id, jobs[2]->job.id}));
  EXPECT_EQ(given[2], std::vector<std::string>{jobs[3]->job.id});
  EXPECT_EQ(given[3], std::vector<std::string>{jobs[4]->job.id});
}

TEST_F(Dispatching, JobsGoAloneWhereCostsAreNotKnownOrWeightsStay) {
  begin();
  dispatcher_->pause("");
  std::vector<JobPtr> jobs = {submit({{"resident", true}}), submit({{"resident", true}}), submit({{"resident", true}})};
  dispatcher_->resume();
  ASSERT_TRUE(until_ended(jobs));
  EXPECT_EQ(batches().size(), 3u) << "the first one's cost is not known, and the weights stay after it";
}

TEST_F(Dispatching, AWorkerThatDiesIsStartedAgainAndTheJobGoesOn) {
  begin();
  const JobPtr job = submit("die_once");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 1);
  EXPECT_EQ(starts(), 2);
  EXPECT_EQ(dispatcher_->workers().at(0).deaths, 1);
  EXPECT_TRUE(no_folders());
}

TEST_F(Dispatching, AJobThatKillsItsWorkerTwiceFailsAlone) {
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("");
  const std::vector<JobPtr> jobs = {submit(""), submit("die"), submit("")};
  dispatcher_->resume();
  ASSERT_TRUE(until_ended(jobs));
  EXPECT_EQ(batches().at(1).size(), 3u) << "they were one batch";
  EXPECT_EQ(jobs[0]->job.status, JobStatus::Done);
  EXPECT_EQ(jobs[2]->job.status, JobStatus::Done);
  ASSERT_EQ(jobs[1]->job.status, JobStatus::Failed);
  EXPECT_EQ(jobs[1]->job.error->status, 503);
  EXPECT_EQ(jobs[1]->job.error->type, "runner_disconnected");
  EXPECT_NE(jobs[1]->job.error->text().find("signal 9"), std::string::npos) << jobs[1]->job.error->text();
  EXPECT_EQ(rendered(jobs[0]), 1);
  EXPECT_EQ(rendered(jobs[1]), 2);
  EXPECT_EQ(rendered(jobs[2]), 1);
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "data/outputs"))
    EXPECT_EQ(entry.path().extension(), ".mp4") << "no half of a video stays: " << entry.path();
  EXPECT_EQ(jobs[0]->job.deaths, 0);
  EXPECT_EQ(jobs[2]->job.deaths, 0);
  EXPECT_TRUE(no_folders());
}

TEST_F(Dispatching, DeathsAreCountedForTheJobThatIsPrepared) {
  begin();
  const JobPtr job = submit("die_preparing");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Failed);
  EXPECT_EQ(job->job.error->type, "runner_disconnected");
}

TEST_F(Dispatching, ABatchThatNoWorkerSurvivesReadingEndsJobByJob) {
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("");
  const std::vector<JobPtr> jobs = {submit("die_reading"), submit("")};
  dispatcher_->resume();
  ASSERT_TRUE(until_ended(jobs));
  EXPECT_EQ(jobs[0]->job.error->type, "runner_disconnected");
  EXPECT_EQ(jobs[1]->job.status, JobStatus::Done);
  EXPECT_EQ(starts(), 4) << "a death before the first word is nobody's, then two are the first job's";
}

TEST_F(Dispatching, AnExitIsNamedAndItsLastLinesAreKept) {
  begin();
  const JobPtr job = submit("exit7");
  ASSERT_TRUE(until_ended({job}));
  ASSERT_EQ(job->job.status, JobStatus::Failed);
  EXPECT_NE(job->job.error->text().find("exit status 7"), std::string::npos) << job->job.error->text();
  EXPECT_NE(std::find(reported_.begin(), reported_.end(), "worker cpu: about to give up"), reported_.end());
  bool told = false;
  for (const std::string& text : reported_)
    told = told || text.find("exit status 7; its last lines: about to give up") != std::string::npos;
  EXPECT_TRUE(told);
}

TEST_F(Dispatching, WhatWasFinishedBeforeADeathIsNotRepeated) {
  begin();
  const JobPtr job = submit("die_finished");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(rendered(job), 1);
}

TEST_F(Dispatching, AVideoThatIsThereIsNotLostToASecondDeath) {
  begin();
  const JobPtr job = submit("die_made");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done) << "it was told at the third attempt";
  EXPECT_EQ(job->job.deaths, 2);
  EXPECT_EQ(rendered(job), 1);
}

TEST_F(Dispatching, NonsenseEndsTheWorkerAndCountsAsADeath) {
  for (const char* behave : {"garbage", "huge", "deep", "no_output"}) {
    SCOPED_TRACE(behave);
    begin();
    const JobPtr bad = submit(behave), good = submit("");
    ASSERT_TRUE(until_ended({bad, good}));
    EXPECT_EQ(bad->job.status, JobStatus::Failed);
    EXPECT_EQ(bad->job.error->type, "runner_disconnected");
    EXPECT_EQ(good->job.status, JobStatus::Done);
    end();
  }
}

TEST_F(Dispatching, WordsAboutOtherJobsAndUnknownOnesAreLeftOut) {
  begin();
  const JobPtr job = submit("wrong_ids");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(starts(), 1);
}

TEST_F(Dispatching, ACancelledJobEndsAtItsNextStepAndTheOthersGoOn) {
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("");
  const std::vector<JobPtr> jobs = {submit("slow"), submit("slow"), submit("")};
  dispatcher_->resume();
  ASSERT_TRUE(until_running(jobs[0]));
  EXPECT_EQ(batches().at(1).size(), 3u);
  EXPECT_EQ(cancel(jobs[1]), CancelAnswer::Requested);
  EXPECT_EQ(jobs[1]->job.status, JobStatus::Cancelled) << "it had not begun";
  ASSERT_TRUE(until([&] { return was_told("cancel", jobs[1]); }));
  EXPECT_EQ(jobs[0]->job.status, JobStatus::Running);
  EXPECT_EQ(cancel(jobs[0]), CancelAnswer::Requested);
  ASSERT_TRUE(until_ended(jobs));
  EXPECT_EQ(jobs[0]->job.status, JobStatus::Cancelled);
  EXPECT_EQ(jobs[2]->job.status, JobStatus::Done);
  EXPECT_EQ(rendered(jobs[1]), 0);
  EXPECT_EQ(starts(), 1);
  EXPECT_TRUE(no_folders());
}

TEST_F(Dispatching, AJobThatDoesNotEndIsCancelledByKillingItsWorker) {
  times_.cancel = milliseconds(100);
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("");
  const JobPtr hangs = submit("hang"), next = submit("");
  dispatcher_->resume();
  ASSERT_TRUE(until([&] { return hangs->job.status == JobStatus::Running; }));
  EXPECT_EQ(cancel(hangs), CancelAnswer::Requested);
  ASSERT_TRUE(until_ended({hangs, next}));
  EXPECT_EQ(hangs->job.status, JobStatus::Cancelled);
  EXPECT_EQ(next->job.status, JobStatus::Done);
  EXPECT_EQ(next->job.deaths, 0);
  EXPECT_EQ(starts(), 2);
}

TEST_F(Dispatching, AProcessThatSaysNothingIsKilledAndItsJobGoesOn) {
  beat_every("0.02");
  times_.silent = milliseconds(1500);
  begin();
  const JobPtr job = submit("stopped");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 1);
  EXPECT_EQ(starts(), 2);
  EXPECT_NE(dispatcher_->workers().at(0).deaths, 0);
  EXPECT_TRUE(std::any_of(reported_.begin(), reported_.end(),
                          [](const std::string& line) { return line.find("it hangs") != line.npos; }));
}

TEST_F(Dispatching, SilenceIsNoHangingWhereLifeIsNotTold) {
  times_.silent = milliseconds(100);
  begin();
  const JobPtr job = submit("hang");
  ASSERT_TRUE(until([&] { return job->job.status == JobStatus::Running; }));
  turn(milliseconds(500));
  EXPECT_EQ(starts(), 1);
}

TEST_F(Dispatching, AStepMayTakeLongAndAJobThatNeverGetsOnEndsItsWorker) {
  beat_every("0.02");
  times_.silent = milliseconds(1000);
  begin();
  const JobPtr first = submit("hang_once");
  ASSERT_TRUE(until([&] { return first->job.status == JobStatus::Running; }));
  turn(milliseconds(2500));
  EXPECT_EQ(starts(), 1) << "the CPU has no limit by itself, and the process tells that it lives";
  end();

  settings_.worker_timeout = std::chrono::seconds(1);
  begin();
  const JobPtr second = submit("hang_once");
  ASSERT_TRUE(until_ended({second}));
  EXPECT_EQ(second->job.status, JobStatus::Done);
  EXPECT_EQ(second->job.deaths, 1);
  EXPECT_TRUE(std::any_of(reported_.begin(), reported_.end(),
                          [](const std::string& line) { return line.find("--worker-timeout") != line.npos; }));
}

TEST_F(Dispatching, AWorkerThatWaitsForItsFolderDoesNotHang) {
  settings_.worker_timeout = std::chrono::seconds(2);
  begin();
  const JobPtr job = submit("held_long");  // 3.5 s
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 0);
  EXPECT_EQ(starts(), 1);
}

// As where a machine was asleep: the time is nobody's silence.
TEST_F(Dispatching, AServerThatWasStoppedItselfTakesNoWorkerForHanging) {
  beat_every("0.02");
  times_.silent = milliseconds(1500);
  begin();
  const JobPtr job = submit("slow");
  ASSERT_TRUE(until_running(job));
  const auto pid = pid_t(dispatcher_->workers().at(0).pid);
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  turn(milliseconds(50));  // what it has said is read
  const int64_t step = job->progress.step;
  std::this_thread::sleep_for(milliseconds(2500));
  turn(milliseconds(100));
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  ASSERT_TRUE(until([&] { return job->progress.step > step; }));
  EXPECT_EQ(dispatcher_->workers().at(0).deaths, 0);
  EXPECT_EQ(starts(), 1);
}

TEST_F(Dispatching, AWorkerThatCannotStartIsBrokenUntilItCan) {
  start_as("exit3");
  begin();
  const JobPtr job = submit();
  ASSERT_TRUE(until([&] { return starts() >= 2; })) << "it is tried again";
  ASSERT_TRUE(until([&] { return dispatcher_->workers().at(0).state == WorkerState::Broken; }));
  EXPECT_NE(dispatcher_->workers()[0].trouble.find("exit status 3; its last lines: [device] must be there"),
            std::string::npos)
      << dispatcher_->workers()[0].trouble;
  EXPECT_EQ(job->job.status, JobStatus::Queued);
  start_as("");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 0);
  EXPECT_EQ(dispatcher_->workers()[0].trouble, "");
}

TEST_F(Dispatching, OneThatIsNeverReadyIsKilledAndBroken) {
  start_as("never_ready");
  times_.ready = milliseconds(100);
  begin();
  ASSERT_TRUE(until([&] { return dispatcher_->workers().at(0).state == WorkerState::Broken; }));
  EXPECT_NE(dispatcher_->workers()[0].trouble.find("was not ready within"), std::string::npos);
}

TEST_F(Dispatching, AProgramThatIsNotThereIsToldAndTriedAgain) {
  program_ = folder_ / "absent";
  begin();
  ASSERT_TRUE(until([&] { return dispatcher_->workers().at(0).state == WorkerState::Broken; }));
  EXPECT_NE(dispatcher_->workers()[0].trouble.find("absent"), std::string::npos);
  fs::create_symlink(fs::path(WAN_SOURCE_DIR) / "tests/serve/fake_worker.py", program_);
  const JobPtr job = submit();
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
}

TEST_F(Dispatching, OneThatDiesWhileItIsIdleIsStartedAgainAfterGrowingPauses) {
  start_as("die_idle");
  begin();
  ASSERT_TRUE(until([&] { return starts() >= 3; }));
  start_as("");
  const JobPtr job = submit();
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 0) << "it was no job's fault";
}

TEST_F(Dispatching, ADeadlineToStartThatIsMissedEndsTheJob) {
  begin();
  const JobPtr first = submit("slow");
  ASSERT_TRUE(until_running(first));
  Job late = job(), early = job();
  late.start_before = now_ms() + 50;
  early.start_before = now_ms() + 3600 * 1000;
  const JobPtr misses = wait_for(jobs_->submit(late)), waits = wait_for(jobs_->submit(early));
  ASSERT_TRUE(until_ended({misses}));
  EXPECT_EQ(misses->job.status, JobStatus::Failed);
  EXPECT_EQ(misses->job.error->status, 504);
  EXPECT_EQ(misses->job.error->type, "request_timeout");
  EXPECT_EQ(first->job.status, JobStatus::Running);
  cancel(first);
  ASSERT_TRUE(until_ended({waits}));
  EXPECT_EQ(waits->job.status, JobStatus::Done);
}

TEST_F(Dispatching, ADeadlineToStartDoesNotFollowTheClock) {
  begin();
  const JobPtr first = submit("slow");
  ASSERT_TRUE(until_running(first));
  // It came while the clock was an hour ahead.
  Job late = job();
  late.created = now_ms() + 3600 * 1000;
  late.start_before = late.created + 50;
  const JobPtr misses = wait_for(jobs_->submit(late));
  ASSERT_TRUE(until_ended({misses}));
  EXPECT_EQ(misses->job.error->type, "request_timeout");
  cancel(first);
  ASSERT_TRUE(until_ended({first}));
}

TEST_F(Dispatching, BatchesOfAnEarlierServerGoOnInTheOrderOfArrival) {
  settings_.window = std::chrono::seconds(0);
  settings_.devices = {"cuda:0", "cuda:1"};
  begin();
  Job first = job({{"behave", "hang_once"}}), second = first;
  first.created = 2000, second.created = 1000;  // the clock jumped back between them
  const JobPtr one = wait_for(jobs_->submit(first)), two = wait_for(jobs_->submit(second));
  ASSERT_TRUE(until([&] { return one->job.status == JobStatus::Running && two->job.status == JobStatus::Running; }));
  end();
  settings_.devices = {"cpu"};
  begin();
  ASSERT_TRUE(until([&] { return jobs_->unfinished().empty(); }));
  const auto given = batches();
  ASSERT_EQ(given.size(), 4u);
  EXPECT_EQ(given[2], std::vector<std::string>{one->job.id});
  EXPECT_EQ(given[3], std::vector<std::string>{two->job.id});
}

TEST_F(Dispatching, AFolderThatAnotherProcessHasIsWaitedForAndIsNoDeath) {
  begin();
  const JobPtr job = submit("held");
  ASSERT_TRUE(until([&] { return dispatcher_->workers().at(0).state == WorkerState::Held; }));
  EXPECT_NE(dispatcher_->workers()[0].trouble.find("another process works in"), std::string::npos);
  EXPECT_EQ(job->job.status, JobStatus::Queued);
  ASSERT_TRUE(until([&] { return job->job.status == JobStatus::Running; }));
  EXPECT_EQ(dispatcher_->workers()[0].state, WorkerState::Working);
  EXPECT_EQ(dispatcher_->workers()[0].trouble, "");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 0);
  EXPECT_EQ(starts(), 1);
}

TEST_F(Dispatching, JobsOfAnEarlierServerGoOnInTheirBatchesAndFinishedOnesAreNotRepeated) {
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  dispatcher_->pause("");
  const std::vector<JobPtr> jobs = {submit(""), submit("slow"), submit("")};
  dispatcher_->resume();
  ASSERT_TRUE(until_running(jobs[1]));
  ASSERT_TRUE(until_ended({jobs[0]}));
  const std::string batch = jobs[1]->job.batch;
  fs::create_directories(folder_ / "data/work/left-over");
  end();

  begin();
  const JobPtr slow = wait_for(jobs_->find(jobs[1]->job.id, std::nullopt));
  const JobPtr last = wait_for(jobs_->find(jobs[2]->job.id, std::nullopt));
  ASSERT_TRUE(slow && last);
  ASSERT_TRUE(until_running(slow));
  EXPECT_EQ(slow->job.batch, batch);
  EXPECT_EQ(slow->job.deaths, 0) << "it was the server that died";
  EXPECT_TRUE(until([&] { return !fs::exists(folder_ / "data/work/left-over"); }))
      << "no unfinished job has work there";
  cancel(slow);
  ASSERT_TRUE(until_ended({slow, last}));
  EXPECT_EQ(last->job.status, JobStatus::Done);
  EXPECT_EQ(rendered(jobs[0]), 1);
  EXPECT_EQ(batches().back(), (std::vector<std::string>{slow->job.id, last->job.id}));
}

TEST_F(Dispatching, StopLetsWorkersSaveTheirState) {
  begin();
  const JobPtr job = submit("slow");
  ASSERT_TRUE(until_running(job));
  bool stopped = false;
  boost::asio::co_spawn(*io_, dispatcher_->stop(std::chrono::seconds(30)), [&](std::exception_ptr) { stopped = true; });
  ASSERT_TRUE(until([&] { return stopped; }));
  EXPECT_TRUE(was_told("stop"));
  EXPECT_EQ(job->job.status, JobStatus::Queued);
  EXPECT_EQ(job->job.deaths, 0);
  EXPECT_FALSE(job->job.batch.empty()) << "what was saved lies there";
  EXPECT_EQ(starts(), 1);
}

TEST_F(Dispatching, StopKillsOneThatDoesNotEnd) {
  begin();
  const JobPtr job = submit("hang");
  ASSERT_TRUE(until([&] { return job->job.status == JobStatus::Running; }));
  bool stopped = false;
  boost::asio::co_spawn(*io_, dispatcher_->stop(std::chrono::seconds(0)), [&](std::exception_ptr) { stopped = true; });
  ASSERT_TRUE(until([&] { return stopped; }));
  EXPECT_EQ(job->job.status, JobStatus::Queued);
  EXPECT_EQ(job->job.deaths, 0) << "whoever stops the server is no fault of the job";
}

TEST_F(Dispatching, TheDeviceIsFreedAfterAWhileWithoutWork) {
  settings_.idle_unload = std::chrono::seconds(1);
  begin();
  ASSERT_TRUE(until_ended({submit()}));
  ASSERT_TRUE(until([&] { return was_told("unload"); }));
  turn(milliseconds(1200));
  int64_t count = 0;
  for (const auto& line : log()) count += line.value("do", "") == "unload";
  EXPECT_EQ(count, 1);
  EXPECT_EQ(std::count(reported_.begin(), reported_.end(), "worker cpu: freed after 1.00 s without a job"), 1);
}

TEST_F(Dispatching, AFullDiskMakesJobsWaitAndFailsNone) {
  begin();
  const JobPtr job = submit("disk");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 0);
  EXPECT_EQ(starts(), 1);
}

TEST_F(Dispatching, ALostDeviceEndsTheProcessAndTheJobGoesOnWithTheNext) {
  begin();
  const JobPtr job = submit("device");
  ASSERT_TRUE(until_ended({job}));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_EQ(job->job.deaths, 1);
  EXPECT_EQ(starts(), 2);
}

TEST_F(Dispatching, AFailureIsToldInTheWordsOfTheHostedApis) {
  begin();
  const auto refusal = [](const std::string& field) {
    return nlohmann::json{{"behave", "request"},
                          {"errors", {{{"field", field}, {"wrong", "must be a picture"}, {"type", "value_error"}}}}};
  };
  const std::vector<JobPtr> jobs = {submit(refusal("image_url")), submit(refusal("memory")), submit("machine")};
  ASSERT_TRUE(until_ended(jobs));
  EXPECT_EQ(jobs[0]->job.error->status, 422);
  EXPECT_EQ(jobs[0]->job.error->detail[0]["loc"], (nlohmann::json{"body", "image_url"}));
  EXPECT_EQ(jobs[0]->job.error->detail[0]["type"], "image_load_error");
  EXPECT_EQ(jobs[1]->job.error->status, 500);
  EXPECT_EQ(jobs[1]->job.error->text(), "The server is not set up for this job (memory); its log says why");
  EXPECT_EQ(jobs[2]->job.error->type, "runner_server_error");
  EXPECT_EQ(jobs[2]->job.error->text(), "The server failed at this job; its log says why");
  // The server's log has the whole.
  const std::string line = "worker cpu: job " + jobs[2]->job.id + " failed (machine): [memory] ran out";
  EXPECT_NE(std::find(reported_.begin(), reported_.end(), line), reported_.end());
}

TEST_F(Dispatching, EachDeviceHasItsWorker) {
  settings_.devices = {"cuda:0", "cuda:1"};
  begin();
  const JobPtr one = submit("slow"), two = submit("slow");
  ASSERT_TRUE(until_running(one));
  ASSERT_TRUE(until_running(two));
  EXPECT_EQ(starts(), 2);
  cancel(one);
  cancel(two);
  ASSERT_TRUE(until_ended({one, two}));
}

TEST_F(Dispatching, WorkersGoWithTheDispatcher) {
  begin();
  const JobPtr job = submit("hang");
  ASSERT_TRUE(until([&] { return job->job.status == JobStatus::Running; }));
  const int64_t pid = dispatcher_->workers().at(0).pid;
  ASSERT_EQ(kill(pid_t(pid), 0), 0);
  end();
  EXPECT_NE(kill(pid_t(pid), 0), 0);
}

}  // namespace
}  // namespace wan::serve
