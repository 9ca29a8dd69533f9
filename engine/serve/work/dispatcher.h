// Gives waiting jobs to workers: one process for each device, started and watched.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/serve/queue/jobs.h"
#include "engine/serve/settings.h"
#include "engine/serve/work/times.h"

namespace wan::serve {

/// What a worker is, for /ready, /metrics and the page.
struct WorkerState {
  std::string device, name;  // "cuda:0", "NVIDIA H200"
  // Waiting: before it is started again. Held: another process has the work folder of its batch.
  enum { Starting, Idle, Working, Held, Waiting, Broken } state = Starting;
  int64_t pid = 0, deaths = 0;
  uint64_t device_bytes = 0;
  std::string trouble;  // why it is not there
  std::map<std::string, double> stage_seconds;
};

class Dispatcher {
 public:
  /// `program`: wan-engine. Work folders lie in `settings.data`/work, videos appear in its outputs, pictures of
  /// unfinished ones in its previews; the folders are made. Sets on_submit and on_cancel of `jobs`, and calls what they
  /// were before.
  Dispatcher(boost::asio::io_context& io, Jobs& jobs, const Settings& settings, std::filesystem::path program,
             std::function<void(const std::string&)> report, const WorkTimes& times = {});
  ~Dispatcher();  // workers are killed where they are still there

  /// Starts the workers and gives them what waits, jobs of an earlier process first.
  void start();
  /// Workers save their state and end; returns when all have, after `most` at the latest.
  Awaitable<void> stop(std::chrono::seconds most);
  /// While it is paused (the disk is full) no job is begun; running ones go on. `why` is shown.
  void pause(const std::string& why);
  void resume();
  const std::string& paused() const;
  std::vector<WorkerState> workers() const;
  /// Seconds until the job begins and until it ends, as far as earlier jobs tell. Takes microseconds.
  std::optional<std::pair<double, double>> forecast(const LiveJob& job) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace wan::serve
