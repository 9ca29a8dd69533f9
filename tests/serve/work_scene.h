// A queue and a dispatcher with a worker that renders nothing (fake_worker.py), driven by hand.
#pragma once

#include "engine/serve/net/asio.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <cstdlib>
#include <fstream>

#include "engine/serve/queue/jobs.h"
#include "engine/serve/work/dispatcher.h"

namespace wan::serve {

class WorkScene : public testing::Test {
 protected:
  WorkScene() {
    char name[] = "/tmp/wan-work-XXXXXX";
    folder_ = mkdtemp(name);
    std::filesystem::create_directories(folder_ / "data");
    settings_.data = folder_ / "data";
    settings_.devices = {"cpu"};
    settings_.models = {{"t2v", "/models/t2v"}};
    setenv("WAN_FAKE_LOG", (folder_ / "log").c_str(), 1);
    start_as("");
    beat_every("");
    times_.first_pause = times_.broken = times_.full_disk = std::chrono::milliseconds(100);
    times_.look = std::chrono::milliseconds(20);
  }
  ~WorkScene() override {
    end();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  static void start_as(const char* how) { setenv("WAN_FAKE_START", how, 1); }

  static void beat_every(const char* seconds) { setenv("WAN_FAKE_BEAT", seconds, 1); }

  /// The server begins; of an earlier one it takes the queue.
  void begin() {
    io_ = std::make_unique<boost::asio::io_context>();
    const auto report = [this](const std::string& text) { reported_.push_back(text); };
    jobs_ = std::make_unique<Jobs>(*io_, open_sqlite(folder_ / "data" / "jobs.sqlite"), report, clocks_);
    dispatcher_ = std::make_unique<Dispatcher>(*io_, *jobs_, settings_, program_, report, times_);
    dispatcher_->start();
  }
  /// It is gone, as after kill -9: its worker is killed.
  void end() {
    dispatcher_.reset();
    jobs_.reset();
    io_.reset();
  }

  void turn(std::chrono::milliseconds most = std::chrono::milliseconds(10)) {
    if (io_->stopped()) io_->restart();
    io_->run_for(most);
  }
  /// Whether it becomes so; long before that a machine that is busy has come to it.
  template <typename Condition>
  bool until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      turn();
    }
    return true;
  }

  template <typename T>
  T wait_for(Awaitable<T> what) {
    std::optional<T> got;
    std::exception_ptr thrown;
    boost::asio::co_spawn(*io_, std::move(what), [&](std::exception_ptr error, T value) {
      thrown = error;
      got = std::move(value);
    });
    EXPECT_TRUE(until([&] { return got.has_value(); }));
    if (thrown) std::rethrow_exception(thrown);
    return std::move(*got);
  }

  static Job job(nlohmann::json fields = nlohmann::json::object()) {
    Job job;
    job.endpoint = "fal-ai/wan/v2.2-a14b/text-to-video";
    job.fields = {{"task", "t2v"}, {"prompt", "a cat"}, {"num_frames", 17}, {"num_inference_steps", 2}};
    job.fields.update(fields);
    job.input = {{"prompt", "a cat"}};
    return job;
  }
  JobPtr submit(nlohmann::json fields = nlohmann::json::object()) {
    return wait_for(jobs_->submit(job(std::move(fields))));
  }
  JobPtr submit(const char* behave) { return submit(nlohmann::json{{"behave", behave}}); }
  CancelAnswer cancel(const JobPtr& job) { return wait_for(jobs_->cancel(job->job.id, std::nullopt)); }

  bool until_ended(const std::vector<JobPtr>& jobs) {
    return until([&] {
      for (const JobPtr& job : jobs)
        if (!is_ended(job->job.status)) return false;
      return true;
    });
  }
  bool until_running(const JobPtr& job) {
    return until([&] { return job->job.status == JobStatus::Running && !job->progress.stage.empty(); });
  }

  /// What the fake worker noted.
  std::vector<nlohmann::json> log() const {
    std::vector<nlohmann::json> lines;
    std::ifstream in(folder_ / "log");
    for (std::string line; std::getline(in, line);)
      if (const auto json = nlohmann::json::parse(line, nullptr, false); json.is_object()) lines.push_back(json);
    return lines;
  }
  int64_t rendered(const JobPtr& job) const {
    int64_t count = 0;
    for (const auto& line : log()) count += line.value("rendered", "") == job->job.id;
    return count;
  }
  /// Of the batches that were given: the ids of their jobs that are not withdrawn.
  std::vector<std::vector<std::string>> batches() const {
    std::vector<std::vector<std::string>> all;
    for (const auto& line : log()) {
      if (line.value("do", "") != "render") continue;
      all.emplace_back();
      for (const auto& job : line["jobs"])
        if (!job["withdrawn"].get<bool>()) all.back().push_back(job["id"]);
    }
    return all;
  }
  bool was_told(const std::string& what, const JobPtr& job = nullptr) const {
    for (const auto& line : log())
      if (line.value("do", "") == what && (!job || line.value("job", "") == job->job.id)) return true;
    return false;
  }
  int64_t starts() const {
    int64_t count = 0;
    for (const auto& line : log()) count += line.contains("start");
    return count;
  }
  std::filesystem::path output(const JobPtr& job) const { return folder_ / "data/outputs" / job->job.output->file; }
  /// Whether nothing is left of batches; folders go by another thread.
  bool no_folders() {
    return until([&] { return std::filesystem::is_empty(folder_ / "data/work"); });
  }

  std::filesystem::path folder_, program_ = std::filesystem::path(WAN_SOURCE_DIR) / "tests/serve/fake_worker.py";
  Settings settings_;
  WorkTimes times_;
  Clocks clocks_ = clocks_of_machine();
  std::vector<std::string> reported_;
  std::unique_ptr<boost::asio::io_context> io_;
  std::unique_ptr<Jobs> jobs_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

}  // namespace wan::serve
