// Jobs in memory and on the disk: nothing is told before it is kept, a store that refuses, restarts.
#include "engine/serve/queue/jobs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "engine/serve/queue/sqlite.h"
#include "tests/serve/gated_store.h"
#include "tests/serve/on_io.h"
#include "tests/serve/queue_jobs.h"

namespace wan::serve {
namespace {

/// Jobs over a database in a folder of its own; open() is a restart.
struct Queue {
  Queue() { open(); }
  void open() {
    jobs.reset();
    jobs = std::make_unique<Jobs>(io, std::make_unique<GatedStore>(open_sqlite(folder.file()), gate),
                                  [this](const std::string& line) { reports.push_back(line); });
    jobs->on_end = [this](const JobPtr& job) { ends.push_back(job->job.id); };
    jobs->on_cancel = [this](const JobPtr& job) { cancels.push_back(job->job.id); };
    jobs->on_submit = [this](const JobPtr& job) { submits.push_back(job->job.id); };
    jobs->on_remove = [this](const Job& job) { removes.push_back(job); };
  }
  JobPtr submit(Job job = a_job()) { return on_io(io, jobs->submit(std::move(job))); }
  JobPtr find(const std::string& id, std::optional<std::string> owner = {}) {
    return on_io(io, jobs->find(id, std::move(owner)));
  }
  JobPtr run(const JobPtr& job, const std::string& batch = "batch") {
    jobs->begin(job, batch);
    jobs->running(job);
    return job;
  }
  void finish(const JobPtr& job) {
    jobs->done(job, {"out.mp4", 10, 1, "a cat", 2});
    ASSERT_TRUE(run_until(io, [&] { return job->job.status == JobStatus::Done; }));
  }
  /// Waits until everything that was told is on the disk.
  void settle() { on_io(io, jobs->write({})); }

  QueueFolder folder;
  boost::asio::io_context io;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  std::vector<std::string> reports, ends, cancels, submits;
  std::vector<Job> removes;
  std::unique_ptr<Jobs> jobs;
};

std::string ids_of(const std::vector<JobPtr>& jobs) {
  std::string text;
  for (const JobPtr& job : jobs) text += job->job.id + " ";
  return text;
}

TEST(Jobs, SubmitReturnsAfterItsCommit) {
  Queue queue;
  queue.gate->set(true);
  JobPtr got;
  boost::asio::co_spawn(queue.io, queue.jobs->submit(a_job()), [&](std::exception_ptr, JobPtr job) { got = job; });
  run_for(queue.io, std::chrono::milliseconds(50));
  EXPECT_FALSE(got);
  EXPECT_TRUE(queue.submits.empty());
  EXPECT_TRUE(queue.jobs->waiting().empty());
  queue.gate->set(false);
  ASSERT_TRUE(run_until(queue.io, [&] { return got != nullptr; }));
  EXPECT_EQ(queue.submits, std::vector{got->job.id});
  EXPECT_EQ(ids_of(queue.jobs->waiting()), got->job.id + " ");
  queue.open();
  EXPECT_EQ(queue.find(got->job.id)->job.status, JobStatus::Queued);
}

TEST(Jobs, FillsInWhatANewJobLacks) {
  Queue queue;
  Job job = a_job();
  job.id = job.preview_key = "";
  job.created = 0;
  const JobPtr live = queue.submit(job);
  EXPECT_TRUE(is_uuid(live->job.id));
  EXPECT_EQ(live->job.preview_key.size(), 32u);
  EXPECT_GT(live->job.created, 0);
}

TEST(Jobs, WhatComesDuringACommitIsOneCommit) {
  Queue queue;
  queue.gate->set(true);
  int over = 0;
  const auto spawn = [&] {
    boost::asio::co_spawn(queue.io, queue.jobs->submit(a_job()), [&](std::exception_ptr error, JobPtr) {
      EXPECT_FALSE(error);
      ++over;
    });
  };
  spawn();
  run_for(queue.io, std::chrono::milliseconds(1));
  queue.gate->wait_until_one_waits();
  for (int i = 0; i < 63; ++i) spawn();
  run_for(queue.io, std::chrono::milliseconds(50));
  queue.gate->set(false);
  ASSERT_TRUE(run_until(queue.io, [&] { return over == 64; }));
  EXPECT_EQ(queue.gate->commits, (std::vector<size_t>{1, 63}));
}

TEST(Jobs, AnEndIsSeenOnceItIsOnTheDisk) {
  Queue queue;
  const JobPtr job = queue.run(queue.submit());
  queue.settle();
  queue.gate->set(true);
  const uint64_t version = job->version;
  bool woken = false;
  boost::asio::co_spawn(queue.io, queue.jobs->changed(job, version, std::chrono::minutes(5)),
                        [&](std::exception_ptr) { woken = true; });
  queue.jobs->done(job, {"out.mp4", 10, 1, "a cat", 2});
  run_for(queue.io, std::chrono::milliseconds(50));
  EXPECT_EQ(job->job.status, JobStatus::Running);
  EXPECT_EQ(job->version, version);
  EXPECT_FALSE(woken);
  EXPECT_TRUE(queue.ends.empty());
  queue.jobs->fail(job, {500, "internal_error", "too late"});  // it has its end
  queue.jobs->requeue(job, true);
  queue.gate->set(false);
  ASSERT_TRUE(run_until(queue.io, [&] { return woken; }));
  EXPECT_EQ(job->job.status, JobStatus::Done);
  EXPECT_GT(job->job.ended, 0);
  EXPECT_EQ(queue.ends, std::vector{job->job.id});
  queue.settle();
  queue.open();
  EXPECT_TRUE(queue.jobs->unfinished().empty());
  const JobPtr again = queue.find(job->job.id);
  EXPECT_EQ(again->job.status, JobStatus::Done);
  EXPECT_EQ(again->job.output->file, "out.mp4");
}

/// The status and body of what a refused submit is answered; {0, ""} where it was taken.
std::pair<int, std::string> refusal_of_submit(Queue& queue, Job job) {
  try {
    queue.submit(std::move(job));
    return {0, ""};
  } catch (const HttpError& error) {
    return {error.answer.status, error.answer.body};
  }
}

TEST(Jobs, AStoreThatRefusesLosesNothing) {
  Queue queue;
  const JobPtr running = queue.run(queue.submit()), queued = queue.submit();
  queue.settle();
  queue.gate->refuse(true);
  queue.jobs->done(running, {"out.mp4", 10, 1, "a cat", 2});
  const auto [status, body] = refusal_of_submit(queue, a_job());
  EXPECT_EQ(status, 503);
  const auto json = nlohmann::json::parse(body);
  EXPECT_EQ(json["error_type"], "internal_error");
  EXPECT_TRUE(json["detail"].is_string());
  EXPECT_THROW(on_io(queue.io, queue.jobs->write({PutUpload{"a", "anna", "", 1, 1}})), HttpError);
  run_for(queue.io, std::chrono::milliseconds(1200));  // it was tried again
  EXPECT_EQ(running->job.status, JobStatus::Running);
  EXPECT_TRUE(queue.ends.empty());
  EXPECT_EQ(queue.jobs->unfinished().size(), 2u);
  ASSERT_EQ(queue.reports.size(), 1u);
  EXPECT_NE(queue.reports[0].find("the disk is full"), std::string::npos) << queue.reports[0];

  queue.gate->refuse(false);
  const JobPtr later = queue.submit();
  ASSERT_TRUE(run_until(queue.io, [&] { return running->job.status == JobStatus::Done; }));
  EXPECT_EQ(queue.reports.size(), 2u);
  queue.open();
  EXPECT_EQ(ids_of(queue.jobs->unfinished()), queued->job.id + " " + later->job.id + " ");
  EXPECT_EQ(queue.find(running->job.id)->job.status, JobStatus::Done);
}

// Where the database is damaged: nothing more is taken, also while the store has not yet heard of it.
TEST(Jobs, NothingIsTakenFromTheMomentThatChangesAreRefused) {
  Queue queue;
  queue.gate->set(true);
  std::vector<int> answers;
  const auto note = [&](const std::exception_ptr& error) {
    int status = 0;
    try {
      if (error) std::rethrow_exception(error);
    } catch (const HttpError& refused) {
      status = refused.answer.status;
    }
    answers.push_back(status);
  };
  boost::asio::co_spawn(queue.io, queue.jobs->submit(a_job()), [&](std::exception_ptr error, JobPtr) { note(error); });
  run_for(queue.io, std::chrono::milliseconds(1));
  queue.gate->wait_until_one_waits();
  queue.jobs->refuse_changes("[data] the database is damaged");
  std::vector<Change> upload(1, PutUpload{"a", "anna", "", 1, 1});
  boost::asio::co_spawn(queue.io, queue.jobs->submit(a_job()), [&](std::exception_ptr error, JobPtr) { note(error); });
  boost::asio::co_spawn(queue.io, queue.jobs->write(std::move(upload)), note);
  run_for(queue.io, std::chrono::milliseconds(50));
  EXPECT_EQ(answers, (std::vector{503, 503})) << "at once, though the store is busy";
  queue.gate->set(false);
  ASSERT_TRUE(run_until(queue.io, [&] { return answers.size() == 3; }));
  EXPECT_EQ(answers.back(), 0) << "what came before was taken";
  EXPECT_EQ(queue.gate->commits, std::vector<size_t>{1});
  EXPECT_EQ(on_io(queue.io, queue.jobs->list({})).size(), 1u) << "reading goes on";
}

TEST(Jobs, AnEndIsTriedAgainWithoutACall) {
  Queue queue;
  const JobPtr job = queue.run(queue.submit());
  queue.settle();
  queue.gate->refuse(true);
  queue.jobs->fail(job, {422, "", nlohmann::ordered_json::array()});
  ASSERT_TRUE(run_until(queue.io, [&] { return !queue.reports.empty(); }));
  queue.gate->refuse(false);
  ASSERT_TRUE(run_until(queue.io, [&] { return job->job.status == JobStatus::Failed; }));
}

TEST(Jobs, OneThatIsTooLargeDoesNotTouchOthers) {
  Queue queue;
  Job large = a_job();
  large.input["prompt"] = std::string(kMostJobBytes, 'x');
  queue.gate->set(true);
  std::vector<JobPtr> taken;
  int refused = 0;
  for (const Job& job : {a_job(), a_job(), large, a_job()}) {
    boost::asio::co_spawn(queue.io, queue.jobs->submit(job), [&](std::exception_ptr error, JobPtr live) {
      if (live) taken.push_back(live);
      try {
        if (error) std::rethrow_exception(error);
      } catch (const HttpError& refusal) {
        EXPECT_EQ(refusal.answer.status, 413);
        ++refused;
      }
    });
    run_for(queue.io, std::chrono::milliseconds(2));
  }
  queue.gate->set(false);
  ASSERT_TRUE(run_until(queue.io, [&] { return taken.size() == 3 && refused == 1; }));
  EXPECT_EQ(ids_of(queue.jobs->waiting()), ids_of(taken));
}

TEST(Jobs, AnEndThatCannotBeKeptFailsItsJobAlone) {
  Queue queue;
  const JobPtr job = queue.run(queue.submit());
  queue.jobs->done(job, {"out.mp4", 10, 1, std::string(kMostJobBytes, 'x'), 2});
  ASSERT_TRUE(run_until(queue.io, [&] { return job->job.status == JobStatus::Failed; }));
  EXPECT_EQ(job->job.error->type, "internal_error");
  EXPECT_EQ(queue.reports.size(), 1u);
  queue.open();
  EXPECT_EQ(queue.find(job->job.id)->job.status, JobStatus::Failed);
}

TEST(Jobs, LogsOfAnEndThatCannotBeKeptAreKept) {
  Queue queue;
  const JobPtr job = queue.run(queue.submit());
  queue.jobs->log(job, "INFO", "the last step");
  queue.jobs->done(job, {"out.mp4", 10, 1, std::string(kMostJobBytes, 'x'), 2});
  ASSERT_TRUE(run_until(queue.io, [&] { return job->job.status == JobStatus::Failed; }));
  queue.settle();
  queue.open();
  const JobPtr again = queue.find(job->job.id);
  on_io(queue.io, queue.jobs->read_logs(again));
  ASSERT_EQ(again->logs.size(), 1u);
  EXPECT_EQ(again->logs[0].message, "the last step");
}

TEST(Jobs, AnEndThatIsRefusedTwiceIsToldAllTheSame) {
  Queue queue;
  const JobPtr job = queue.run(queue.submit()), other = queue.run(queue.submit());
  queue.settle();
  queue.gate->is_wrong = [](const Change& change) {
    const auto* put = std::get_if<PutJob>(&change);
    return put && is_ended(put->job.status);
  };
  bool woken = false;
  boost::asio::co_spawn(queue.io, queue.jobs->changed(job, job->version, std::chrono::minutes(5)),
                        [&](std::exception_ptr) { woken = true; });
  queue.jobs->done(job, {"out.mp4", 10, 1, "a cat", 2});
  ASSERT_TRUE(run_until(queue.io, [&] { return woken; })) << "who waits for it is answered";
  EXPECT_EQ(job->job.status, JobStatus::Failed);
  EXPECT_EQ(job->job.error->type, "internal_error");
  EXPECT_EQ(queue.ends, std::vector{job->job.id});
  EXPECT_EQ(queue.reports.size(), 2u);
  queue.gate->is_wrong = {};
  queue.finish(other);
}

TEST(Jobs, WhoseTurnItWasIsKnownAfterARestart) {
  Queue queue;
  const std::string first = queue.run(queue.submit())->job.id, second = queue.run(queue.submit())->job.id;
  const JobPtr preparing = queue.submit();
  queue.jobs->begin(preparing, "batch");
  const std::string third = preparing->job.id;
  queue.jobs->turn(queue.find(first), true);
  queue.jobs->turn(queue.find(first), false);
  queue.jobs->turn(queue.find(second), true);
  queue.jobs->turn(preparing, true);
  for (int starts = 0; starts < 2; ++starts) {  // nobody has judged it yet
    queue.open();
    EXPECT_FALSE(queue.find(first)->job.turn);
    EXPECT_TRUE(queue.find(second)->job.turn);
    EXPECT_TRUE(queue.find(third)->job.turn);
    EXPECT_EQ(queue.find(second)->job.status, JobStatus::Queued);
    EXPECT_EQ(queue.find(second)->job.interruptions, 0);
  }
  queue.jobs->requeue(queue.find(second), false);
  EXPECT_FALSE(queue.find(second)->job.turn);
  const JobPtr done = queue.find(third);
  queue.finish(done);
  EXPECT_FALSE(done->job.turn);
}

TEST(Jobs, InterruptionsCountWhileNothingMoreIsSaved) {
  Queue queue;
  const std::string id = queue.run(queue.submit())->job.id;
  const auto interrupted = [&](const std::string& saved) {
    queue.jobs->turn(queue.find(id), true);
    queue.open();
    queue.jobs->interrupted(queue.find(id), saved);
    EXPECT_FALSE(queue.find(id)->job.turn);
    queue.open();
    return queue.find(id)->job.interruptions;
  };
  EXPECT_EQ(interrupted(""), 1);
  EXPECT_EQ(interrupted(""), 2);
  EXPECT_EQ(interrupted("one"), 1) << "it had got on";
  EXPECT_EQ(interrupted("one"), 2);
  EXPECT_EQ(interrupted("one"), 3);
  queue.jobs->uninterrupted(queue.find(id));
  queue.open();
  EXPECT_EQ(queue.find(id)->job.interruptions, 0);
  EXPECT_EQ(interrupted("one"), 1);
  EXPECT_TRUE(queue.ends.empty());
}

TEST(Jobs, ASyncRunOfAnEarlierServerIsCancelled) {
  Queue queue;
  Job awaited = a_job();
  awaited.awaited = true;
  const std::string queued = queue.submit(awaited)->job.id, other = queue.submit()->job.id;
  awaited.id = new_uuid();
  const std::string running = queue.run(queue.submit(awaited))->job.id;
  queue.open();
  EXPECT_EQ(ids_of(queue.jobs->waiting()), other + " ");
  ASSERT_TRUE(run_until(queue.io, [&] { return queue.ends.size() == 2; }));
  for (const std::string& id : {queued, running}) EXPECT_EQ(queue.find(id)->job.status, JobStatus::Cancelled);
}

TEST(Jobs, LogsThatAreReadLaterCountForWhatIsKept) {
  Queue queue;
  std::vector<std::string> ids;
  const std::string line(Jobs::kMostLogBytes, 'x');
  for (int i = 0; i < 3; ++i) {  // 8 MiB each: two of them are too many
    const JobPtr job = queue.submit();
    for (size_t entry = 0; entry < 1024; ++entry) queue.jobs->log(job, "INFO", line);
    queue.finish(job);
    ids.push_back(job->job.id);
  }
  queue.open();
  std::vector<JobPtr> jobs;
  for (const std::string& id : ids) {
    jobs.push_back(queue.find(id));
    on_io(queue.io, queue.jobs->read_logs(jobs.back()));
    EXPECT_EQ(jobs.back()->logs.size(), 1024u);
  }
  EXPECT_EQ(queue.find(ids[2]), jobs[2]) << "the last one is kept";
  EXPECT_NE(queue.find(ids[0]), jobs[0]) << "no longer in memory";
}

TEST(Jobs, ARestartGoesOnWithWhatWasUnfinished) {
  Queue queue;
  const JobPtr running = queue.run(queue.submit(), "b7"), queued = queue.submit(), begun = queue.submit();
  const JobPtr ended = queue.run(queue.submit());
  queue.jobs->begin(begun, "b7");
  queue.jobs->log(running, "INFO", "loaded");
  queue.jobs->requeue(running, true);
  queue.jobs->running(running);
  queue.finish(ended);
  queue.open();  // writes logs before it ends
  EXPECT_EQ(ids_of(queue.jobs->unfinished()), ids_of({running, queued, begun}));
  EXPECT_EQ(ids_of(queue.jobs->waiting()), ids_of({running, begun, queued}));
  const JobPtr again = queue.find(running->job.id);
  EXPECT_EQ(again->job.status, JobStatus::Queued);
  EXPECT_EQ(again->job.batch, "b7");
  EXPECT_EQ(again->job.deaths, 1);
  ASSERT_EQ(again->logs.size(), 1u);
  EXPECT_TRUE(again->has_logs);
  EXPECT_EQ(again->logs[0].message, "loaded");
  EXPECT_EQ(queue.find(ended->job.id)->job.status, JobStatus::Done);
}

TEST(Jobs, OrderIsThatOfArrivalWhenTheClockJumpsBack) {
  Queue queue;
  std::vector<JobPtr> jobs;
  for (const int64_t created : {3000, 1000, 2000}) jobs.push_back(queue.submit(a_job("anna", created)));
  EXPECT_EQ(ids_of(queue.jobs->waiting()), ids_of(jobs));
  queue.open();
  EXPECT_EQ(ids_of(queue.jobs->waiting()), ids_of(jobs));
  EXPECT_EQ(queue.jobs->position(*queue.find(jobs[2]->job.id)), 2);
}

TEST(Jobs, ARecordThatCannotBeReadFailsItsJobAlone) {
  Queue queue;
  const JobPtr bad = queue.submit(), good = queue.submit();
  queue.jobs.reset();
  Database(queue.folder.file()).run("UPDATE inputs SET input = '{' WHERE job = 1");
  queue.open();
  EXPECT_EQ(ids_of(queue.jobs->waiting()), ids_of({good}));
  ASSERT_TRUE(run_until(queue.io, [&] { return !queue.ends.empty(); }));
  EXPECT_EQ(queue.ends, std::vector{bad->job.id});
  ASSERT_EQ(queue.reports.size(), 1u);
  EXPECT_NE(queue.reports[0].find(bad->job.id), std::string::npos);
  EXPECT_EQ(queue.find(bad->job.id)->job.status, JobStatus::Failed);
  queue.open();
  EXPECT_EQ(ids_of(queue.jobs->unfinished()), ids_of({good}));
}

TEST(Jobs, CancelEndsAQueuedJobAndTellsTheWorkerOfARunningOne) {
  Queue queue;
  const auto cancel = [&](const JobPtr& job) { return on_io(queue.io, queue.jobs->cancel(job->job.id, "anna")); };
  const JobPtr queued = queue.submit(), running = queue.run(queue.submit()), begun = queue.submit();
  queue.jobs->begin(begun, "batch");
  EXPECT_EQ(cancel(queued), CancelAnswer::Requested);
  EXPECT_EQ(queued->job.status, JobStatus::Cancelled);
  EXPECT_EQ(queued->job.error->type, "client_cancelled");
  EXPECT_EQ(queued->job.error->status, 400);
  EXPECT_TRUE(queue.cancels.empty());
  EXPECT_EQ(cancel(queued), CancelAnswer::AlreadyEnded);

  EXPECT_EQ(cancel(running), CancelAnswer::Requested);
  EXPECT_EQ(cancel(running), CancelAnswer::Requested);
  EXPECT_TRUE(running->cancelling);
  EXPECT_EQ(running->job.status, JobStatus::Running);
  EXPECT_FALSE(running->job.error);
  EXPECT_EQ(queue.cancels, (std::vector{running->job.id, running->job.id}));
  queue.jobs->cancelled(running);
  ASSERT_TRUE(run_until(queue.io, [&] { return running->job.status == JobStatus::Cancelled; }));

  EXPECT_EQ(cancel(begun), CancelAnswer::Requested);
  EXPECT_EQ(begun->job.status, JobStatus::Cancelled);
  EXPECT_EQ(queue.cancels.size(), 3u);
  queue.jobs->cancelled(begun);  // what its worker says then
  EXPECT_EQ(on_io(queue.io, queue.jobs->cancel("unknown", {})), CancelAnswer::NotFound);
  EXPECT_EQ(on_io(queue.io, queue.jobs->cancel(queued->job.id, "bert")), CancelAnswer::NotFound);
  EXPECT_EQ(queue.ends.size(), 3u);
}

TEST(Jobs, ACancelledJobDoesNotRunAgainAfterARestart) {
  Queue queue;
  const JobPtr running = queue.run(queue.submit());
  on_io(queue.io, queue.jobs->cancel(running->job.id, {}));
  queue.open();
  EXPECT_TRUE(queue.jobs->waiting().empty());
  ASSERT_TRUE(run_until(queue.io, [&] { return !queue.ends.empty(); }));
  EXPECT_EQ(queue.find(running->job.id)->job.status, JobStatus::Cancelled);
}

TEST(Jobs, ACancelledJobWhoseWorkerDiedEnds) {
  Queue queue;
  const JobPtr running = queue.run(queue.submit());
  on_io(queue.io, queue.jobs->cancel(running->job.id, {}));
  queue.jobs->requeue(running, true);
  ASSERT_TRUE(run_until(queue.io, [&] { return running->job.status == JobStatus::Cancelled; }));
  EXPECT_EQ(running->job.deaths, 1);
}

TEST(Jobs, OthersJobsAreNotThere) {
  Queue queue;
  const JobPtr job = queue.submit(a_job("anna"));
  EXPECT_EQ(queue.find(job->job.id, "anna"), job);
  EXPECT_EQ(queue.find(job->job.id), job);
  EXPECT_EQ(queue.find(job->job.id, "bert"), nullptr);
  EXPECT_EQ(queue.find(std::string(1000, 'x')), nullptr);
  queue.finish(queue.run(job));
  queue.open();
  EXPECT_EQ(queue.find(job->job.id, "bert"), nullptr);
  ASSERT_NE(queue.find(job->job.id, "anna"), nullptr);
  EXPECT_EQ(queue.find(job->job.id, "anna"), queue.find(job->job.id)) << "is read once";
}

TEST(Jobs, ARemovedJobIsGone) {
  Queue queue;
  const auto remove = [&](const JobPtr& job) { return on_io(queue.io, queue.jobs->remove(job->job.id, "anna")); };
  const JobPtr job = queue.submit(), queued = queue.submit();
  EXPECT_FALSE(remove(job));
  queue.jobs->log(queue.run(job), "INFO", "a cat");
  queue.finish(job);
  EXPECT_TRUE(remove(job));
  ASSERT_EQ(queue.removes.size(), 1u);
  EXPECT_EQ(queue.removes[0].output->file, "out.mp4");
  EXPECT_FALSE(remove(job));
  EXPECT_EQ(queue.find(job->job.id), nullptr);
  EXPECT_EQ(on_io(queue.io, queue.jobs->list({})).size(), 1u);
  std::function<double(Store&)> seconds = [](Store& store) { return store.video_seconds_since("anna", 0); };
  EXPECT_DOUBLE_EQ(on_io(queue.io, queue.jobs->ask(seconds)), 4) << "it still counts";
  queue.jobs.reset();
  std::string bytes;
  for (const auto& file : std::filesystem::directory_iterator(queue.folder.path())) bytes += file.path().filename();
  EXPECT_EQ(bytes, "jobs.sqlite");
  const auto store = open_sqlite(queue.folder.file());
  EXPECT_TRUE(store->find(job->job.id)->hidden);
  EXPECT_TRUE(store->find(job->job.id)->input.is_null());
  EXPECT_TRUE(store->logs(job->job.id).empty());
}

TEST(Jobs, AnEndWritesItsWebhookWithIt) {
  Queue queue;
  Job job = a_job();
  job.webhook = "http://127.0.0.1:9/hook";
  const JobPtr live = queue.submit(job), other = queue.submit();
  queue.settle();
  const size_t before = queue.gate->count();
  queue.jobs->done(live, {"out.mp4", 10, 1, "a cat", 2});
  ASSERT_TRUE(run_until(queue.io, [&] { return live->job.status == JobStatus::Done; }));
  EXPECT_EQ(queue.gate->count(), before + 1);
  EXPECT_EQ(queue.gate->commits.back(), 2u);
  queue.finish(other);
  std::function<std::vector<PutHook>(Store&)> question = [](Store& store) { return store.hooks(); };
  const auto hooks = on_io(queue.io, queue.jobs->ask(question));
  ASSERT_EQ(hooks.size(), 1u);
  EXPECT_EQ(hooks[0].job, live->job.id);
}

TEST(Jobs, ProgressIsInMemoryOnlyAndLogsAreWrittenTogether) {
  Queue queue;
  const JobPtr job = queue.run(queue.submit());
  queue.settle();
  const size_t before = queue.gate->count();
  for (int i = 0; i < 20; ++i) {
    const uint64_t version = job->version;
    queue.jobs->progress(job, {"denoise", i, 20, "high", 1.5, 0});
    queue.jobs->log(job, "INFO", "step " + std::to_string(i));
    EXPECT_GT(job->version, version);
    run_for(queue.io, std::chrono::milliseconds(1));
  }
  EXPECT_EQ(job->progress.step, 19);
  EXPECT_EQ(queue.gate->count(), before);
  ASSERT_TRUE(run_until(queue.io, [&] { return queue.gate->count() > before; }));
  queue.jobs->log(job, "INFO", "last");
  queue.finish(job);
  EXPECT_EQ(queue.gate->count(), before + 2) << "one for the logs, one for the end with the last of them";
  EXPECT_EQ(job->logs.size(), 21u);
  queue.open();
  const JobPtr again = queue.find(job->job.id);
  EXPECT_FALSE(again->has_logs);
  on_io(queue.io, queue.jobs->read_logs(again));
  EXPECT_EQ(again->logs.size(), 21u);
}

TEST(Jobs, LogsHaveLimits) {
  Queue queue;
  const JobPtr job = queue.run(queue.submit());
  std::string accents = "x";
  while (accents.size() < Jobs::kMostLogBytes + 10) accents += "\xC3\xA9";
  for (size_t i = 0; i < Jobs::kMostLogs + 10; ++i) queue.jobs->log(job, "INFO", accents);
  ASSERT_EQ(job->logs.size(), Jobs::kMostLogs + 1);
  EXPECT_EQ(job->logs.back().message, "Further entries are left out");
  const std::string& cut = job->logs[0].message;
  EXPECT_EQ(cut.size(), Jobs::kMostLogBytes - 1 + 6);
  EXPECT_EQ(cut.substr(cut.size() - 8), "\xC3\xA9 [...]");
}

TEST(Jobs, ThousandsWaitForAChange) {
  Queue queue;
  const JobPtr job = queue.submit();
  int woken = 0;
  for (int i = 0; i < 5000; ++i) {
    boost::asio::co_spawn(queue.io, queue.jobs->changed(job, job->version, std::chrono::minutes(5)),
                          [&](std::exception_ptr) { ++woken; });
  }
  run_for(queue.io, std::chrono::milliseconds(20));
  EXPECT_EQ(woken, 0);
  queue.jobs->progress(job, {});
  ASSERT_TRUE(run_until(queue.io, [&] { return woken == 5000; }));
  on_io(queue.io, queue.jobs->changed(job, job->version, std::chrono::milliseconds(5)));  // returns without a change
  on_io(queue.io, queue.jobs->changed(job, job->version - 1, std::chrono::minutes(5)));   // returns at once
  on_io(queue.io, queue.jobs->changed(std::make_shared<LiveJob>(), 0, std::chrono::milliseconds(5)));
}

TEST(Jobs, AWaitingCoroutineMayEndWithItsServer) {
  QueueFolder folder;
  auto io = std::make_unique<boost::asio::io_context>();
  auto jobs = std::make_unique<Jobs>(*io, open_sqlite(folder.file()), [](const std::string&) {});
  const JobPtr job = on_io(*io, jobs->submit(a_job()));
  for (int i = 0; i < 10; ++i) {
    boost::asio::co_spawn(*io, jobs->changed(job, job->version, std::chrono::minutes(5)), [](std::exception_ptr) {});
    boost::asio::co_spawn(*io, jobs->submit(a_job()), [](std::exception_ptr, JobPtr) {});
  }
  jobs->log(job, "INFO", "x");
  io->restart();
  io->poll();
  jobs.reset();  // after everything is written
  io.reset();
  EXPECT_EQ(open_sqlite(folder.file())->count({}), 11);
}

TEST(Jobs, KeepsTheLastEndedOnes) {
  Queue queue;
  std::vector<std::string> ids;
  for (size_t i = 0; i < Jobs::kKept + 50; ++i) {
    boost::asio::co_spawn(queue.io, queue.jobs->submit(a_job()), [&](std::exception_ptr, JobPtr job) {
      ids.push_back(job->job.id);
      queue.jobs->done(job, {"out.mp4", 10, 1, "a cat", 2});
    });
  }
  ASSERT_TRUE(run_until(queue.io, [&] { return queue.ends.size() == Jobs::kKept + 50; }));
  const JobPtr first = queue.find(ids.front()), last = queue.find(ids.back());
  EXPECT_FALSE(first->has_logs) << "was read from the store";
  EXPECT_TRUE(last->has_logs) << "was in memory";
  EXPECT_EQ(queue.find(ids.front()), first);
}

TEST(Jobs, AskGivesWhatTheQuestionGivesAndThrows) {
  Queue queue;
  queue.submit();
  std::function<int64_t(Store&)> count = [](Store& store) { return store.count({}); };
  EXPECT_EQ(on_io(queue.io, queue.jobs->ask(count)), 1);
  std::function<void(Store&)> nothing = [](Store&) {};
  on_io(queue.io, queue.jobs->ask(nothing));
  std::function<int(Store&)> throws = [](Store&) -> int { throw std::domain_error("no"); };
  EXPECT_THROW(on_io(queue.io, queue.jobs->ask(throws)), std::domain_error);
  on_io(queue.io, queue.jobs->write({PutUpload{"a", "anna", "", 1, 1}}));
  std::function<bool(Store&)> is_there = [](Store& store) { return store.find_upload("a").has_value(); };
  EXPECT_TRUE(on_io(queue.io, queue.jobs->ask(is_there)));
}

TEST(Jobs, ExpiredJobsLeaveMemoryToo) {
  Queue queue;
  const JobPtr job = queue.submit();
  queue.finish(job);
  on_io(queue.io, queue.jobs->write({RemoveJob{job->job.id}}));
  EXPECT_EQ(queue.find(job->job.id), nullptr);
}

Awaitable<void> submit_many(Jobs& jobs, int many, int& over) {
  for (int i = 0; i < many; ++i) {
    Job job = a_job();
    co_await jobs.submit(std::move(job));
    ++over;
  }
}

/// Durable submits a second of 64 clients; each commit takes `disk` longer than this machine's disk does.
double submits_a_second(std::chrono::milliseconds disk) {
  constexpr int kClients = 64, kEach = 40;
  Queue queue;
  queue.gate->disk = disk;
  int over = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kClients; ++i)
    boost::asio::co_spawn(queue.io, submit_many(*queue.jobs, kEach, over), [](std::exception_ptr) {});
  EXPECT_TRUE(run_until(queue.io, [&] { return over == kClients * kEach; }));
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::function<int64_t(Store&)> count = [](Store& store) { return store.count({}); };
  EXPECT_EQ(on_io(queue.io, queue.jobs->ask(count)), kClients * kEach);
  return kClients * kEach / time.count();
}

TEST(Jobs, TakeManySubmitsASecond) {
  std::printf("64 clients: %.0f durable submits a second", submits_a_second({}));
  std::printf(", %.0f where each commit takes 5 ms more\n", submits_a_second(std::chrono::milliseconds(5)));
}

}  // namespace
}  // namespace wan::serve
