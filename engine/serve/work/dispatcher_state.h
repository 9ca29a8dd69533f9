// What a dispatcher is made of; its coroutines hold it, so that it outlives those that still wait.
#pragma once

#include "engine/serve/net/asio.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/serve/work/batch.h"
#include "engine/serve/work/child.h"
#include "engine/serve/work/costs.h"
#include "engine/serve/work/dispatcher.h"
#include "engine/serve/work/start_deadlines.h"

namespace wan::serve {

/// A device and its process.
struct Worker {
  explicit Worker(boost::asio::io_context& io) : timer(io) {}

  WorkerState shown;
  std::unique_ptr<Child> child;  // null between two processes
  std::optional<Batch> batch;    // that it was given
  bool ready = false;            // it has said so
  bool refused = false;          // what it says counts no more: it is about to be killed
  std::string end_reason;        // why it is killed; empty: it ends by itself
  std::string lost;              // what it said of its device, where that computes nothing more
  std::string death;             // why it ended, for clients: without what only the server's log is to have
  bool unloaded = true;          // nothing is on the device
  std::string resident;          // model_key of the weights that stay loaded; empty: batches gain something
  std::chrono::steady_clock::time_point since{};  // it is idle, or was started
  std::chrono::steady_clock::time_point heard{};  // it said something last
  std::chrono::steady_clock::time_point moved{};  // its job got on last
  bool beats = false;                             // it tells that it is alive
  std::chrono::steady_clock::time_point left_at{};
  std::optional<double> left;  // seconds of its batch, as told at left_at
  std::chrono::milliseconds pause{0};
  std::deque<std::string> last_lines;  // of its standard error
  boost::asio::steady_timer timer;     // of its pause

  bool is_idle() const { return child && ready && !refused && !batch; }
};

struct Dispatcher::State : std::enable_shared_from_this<Dispatcher::State> {
  using Clock = std::chrono::steady_clock;

  State(boost::asio::io_context& io, Jobs& jobs, const Settings& settings, std::filesystem::path program,
        std::function<void(const std::string&)> report, const WorkTimes& times);

  // Which job goes where: dispatcher.cpp.
  /// Dispatches once what is running now has returned.
  void dispatch_soon();
  void dispatch();
  void give(Worker& worker, Batch batch);
  /// Tells the worker of the job, where one has it.
  void cancel(const JobPtr& job);
  /// Deadlines to start and to end, and devices to free.
  void look();
  void fail_late_jobs();
  /// Kills what hangs: a process that says nothing, or one whose job does not get on.
  void look_for_hanging(Worker& worker);
  void remove_folder(const std::filesystem::path& folder);
  static Awaitable<void> look_from_time_to_time(std::shared_ptr<State> state);
  static Awaitable<void> learn_costs(std::shared_ptr<State> state);

  // What an earlier server left: earlier_jobs.cpp.
  /// The jobs of an earlier process, in their batches.
  void take_up();
  /// Removes what no unfinished job has work in.
  void remove_old_folders();
  /// Looks at what a batch has saved in whose turn the earlier process ended, and judges then.
  void examine(Batch& batch);
  /// Counts that end for the jobs whose turn it was; one that it is too many for fails.
  void judge(const std::string& id, const std::string& saved);
  /// The first of `waiting` that may be begun. Suspects go one at a time, and not soon after the start: in a server that
  /// is killed again and again none has its last try.
  std::deque<Batch>::iterator next_waiting();

  // A worker's life: worker_life.cpp.
  static Awaitable<void> live(std::shared_ptr<State> state, size_t number);
  /// False where it could not be started.
  bool start(Worker& worker);
  void end_process(Worker& worker, const std::string& reason);
  /// The process has gone; returns the pause before the next one.
  std::chrono::milliseconds after_end(Worker& worker, int status);
  void give_back(Worker& worker, const std::string& how, bool is_death);
  /// From now on it works on that one.
  void set_current(Worker& worker, Member& member);
  void hear(Worker& worker, std::string_view line);
  void hear_error_line(Worker& worker, std::string_view line);
  void take(Worker& worker, const nlohmann::json& message);
  void take_of_job(Worker& worker, Member& member, const std::string& is, const nlohmann::json& message);
  void take_held(Worker& worker, const nlohmann::json& message);
  void take_done(Worker& worker, Member& member, const nlohmann::json& message);
  void take_failed(Worker& worker, Member& member, const nlohmann::json& message);
  void take_batch_end(Worker& worker, const nlohmann::json& message);
  void tell(const Worker& worker, const std::string& text) const;

  boost::asio::io_context& io;
  Jobs& jobs;
  const Settings settings;
  const std::filesystem::path program, data;
  const std::function<void(const std::string&)> report;
  const WorkTimes times;

  std::vector<std::unique_ptr<Worker>> workers;
  std::deque<Batch> waiting;  // batches whose worker has gone, or whose server had
  StartDeadlines deadlines;
  Costs costs;
  std::string paused;
  Clock::time_point begun = Clock::now();
  Clock::time_point looked = Clock::now();  // last
  Clock::time_point full_until{};           // no job is begun: one had no room on the disk
  bool stopping = false, closed = false, dispatches = false;
  boost::asio::steady_timer timer;
  boost::asio::thread_pool disk{1};  // removes folders
};

}  // namespace wan::serve
