// The folder of one run of `wan-bench serve`, and the servers that are started in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/serve_bench/connection.h"
#include "tools/serve_bench/cores.h"
#include "tools/serve_bench/program.h"
#include "tools/serve_bench/serve_bench.h"

namespace wan::bench {

class Scene {
 public:
  /// Makes the folder in options.data, with wan-serve and beside it the worker under the name by which it looks for one.
  /// Throws std::invalid_argument where a program is absent or the folder cannot be made.
  explicit Scene(const ServeOptions& options);
  ~Scene();
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  const ServeOptions& options() const { return options_; }
  const Cores& cores() const { return cores_; }
  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path worker() const;

  /// Starts a server with this data folder; `core` as Program has it. It listens when its port() returns.
  std::unique_ptr<Program> serve(const std::string& data, int core = -1) const;
  /// The same, when it listens and its worker is ready: that one stays on the core of the load then, at nice 10.
  std::unique_ptr<Program> serve_beside_worker(const std::string& data) const;

  /// How a server ended that did so by itself, since the last call; empty: none did.
  std::string take_server_end() const { return std::exchange(server_end_, ""); }

  /// The data folder that row `memory` left, whose jobs have all ended; empty: none.
  std::string ended_jobs;
  int ended_count = 0;

 private:
  const ServeOptions& options_;
  Cores cores_;
  std::filesystem::path folder_;
  mutable std::string server_end_;
};

/// What is known of the machine and of the disk at `folder`, for a report.
std::map<std::string, std::string> serve_environment(const Scene& scene);

/// A prompt that the worker works on until it is told to stop; others end at once.
inline constexpr const char* kHold = "hold";
/// A submit of a job with this prompt.
std::string submit_text(uint16_t port, const std::string& prompt);
/// The id in the answer to a submit. Throws std::runtime_error where there is none.
std::string id_in(const HttpAnswer& answer);
/// The way of a job's status.
std::string status_path(const std::string& id);
/// Submits a job that is worked on until the server ends, and waits until it runs: its id. Throws std::runtime_error where
/// it does not within half a minute.
std::string hold_worker(uint16_t port);
/// Asks until the answer is 200; throws std::runtime_error with the last one after half a minute.
void wait_for(uint16_t port, const std::string& target);

}  // namespace wan::bench
