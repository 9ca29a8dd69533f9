// The worker of a server: takes batches of jobs, renders them by the engine, and tells what comes of each.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/job/network_pool.h"
#include "engine/job/scheduler.h"
#include "engine/residency/device.h"
#include "engine/serve/work/protocol.h"
#include "tools/serve/line_pipe.h"
#include "tools/serve/user_lines.h"

namespace wan {

/// The exit code of a worker whose device was lost.
inline constexpr int kDeviceLost = 4;

class BatchWorker : public Progress {
 public:
  /// Throws InvalidRequest where the device cannot be used, EnvironmentError for wrong variables.
  BatchWorker(std::string device, LineWriter& out);

  /// Until it is told to stop. Returns the exit code.
  int run();

  // What the engine tells of the job that works now. Throws Cancelled where the worker is to stop, Withdrawn where that
  // job is cancelled.
  void at(const Report& report) override;
  void check() override;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kGoesOn = -1;

  /// A job of the batch that is rendered.
  struct Assignment {
    serve::WorkItem item;
    bool begun = false, ended = false;
    bool cancelled = false;  // it is to end at its next step
    int64_t turns = 0;       // how often it came to its turn: first to be prepared
    // Of the last report, and of the last line about a step.
    Clock::time_point told{}, line{};
    std::optional<Stage> stage = {};
    int64_t line_step = 0;
  };

  static Placement resolve(std::string device, Contexts& contexts);

  // On the thread of the program: batch_worker.cpp.
  /// The next batch as assignments; nothing where the worker is to stop, or has only freed its device.
  std::optional<serve::WorkBatch> next_batch();
  /// Returns the exit code, or kGoesOn.
  int render(const serve::WorkBatch& batch);
  /// Renders these in the batch's folder. Returns the exit code, or kGoesOn.
  int render(const serve::WorkBatch& batch, const std::vector<JobRequest>& jobs);
  RunOptions options();
  /// Nothing for one that is not rendered, or is refused.
  std::optional<Request> request_of(Assignment& task);
  /// Waits until no other process has the batch's folder, which the server is told: a worker of an earlier server may
  /// still be about to leave it. False where this one is to stop, or no job of the batch is left.
  bool wait_for_folder(const serve::WorkBatch& batch);
  bool is_asked_to_stop();
  bool has_work();
  Assignment& task_of(const JobResult& job) { return tasks_.at(size_t(job.line - 1)); }
  void take_turn(const JobResult& job);
  void take_end(const JobResult& job);
  void tell_memory();

  // What the server says, on a thread of its own: worker_words.cpp.
  void read(const std::stop_token& end);
  void stop();
  void take(const nlohmann::json& message);

  // What the server is told: worker_words.cpp. The mutex is held for these.
  bool is_to_stop() const;
  /// The job that works now ends at its next step, others at once.
  void cancel(const std::string& id);
  void begin(Assignment& task);
  void tell_failed(const Assignment& task, const std::exception_ptr& failure);
  void tell_line(const Assignment& task, const UserLine& line);
  /// Of the line that it names, else of the job that works now; what no user need know goes to the server's log. Takes
  /// the mutex.
  void take_event(std::string_view event, const Log::Fields& fields);

  Contexts contexts_;
  const Placement placement_;
  const std::string expander_key_;
  LineWriter& out_;

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<serve::WorkBatch> batches_;
  std::vector<std::string> cancelled_early_;  // of batches_
  bool stop_ = false, unload_ = false;
  std::deque<Assignment> tasks_;   // of the batch that is rendered
  Assignment* current_ = nullptr;  // that works now, or is prepared

  std::map<std::string, double> stage_seconds_;
  const Log log_;
  NetworkPool networks_;
};

}  // namespace wan
