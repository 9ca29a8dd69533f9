// What is kept, and for how long: ended jobs, their videos, uploads.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/serve/age_clock.h"
#include "engine/serve/api/files.h"
#include "engine/serve/leftovers.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

struct RetentionOptions {
  std::filesystem::path data;
  std::chrono::seconds keep{7 * 24 * 3600};  // of ended jobs and uploads; 0: for ever
  uint64_t keep_bytes = 0;                   // of videos, previews, uploads and parts together; 0: no limit
  uint64_t least_free_bytes = 0;             // of the disk
  std::chrono::seconds every{60};            // between two passes
  std::chrono::seconds look_every{5};        // between two looks at the disk
  std::function<std::optional<uint64_t>(const std::filesystem::path&)> free_bytes;  // empty: as the file system tells
  std::chrono::seconds youngest{3600};  // younger ones are not removed for their bytes: somebody is about to use them
  Clocks clocks = clocks_of_machine();
};

/// Removes ended jobs and uploads, the oldest first, but never what an open job needs, and nothing where ages are in
/// doubt (AgeClock). All members are called on the io_context's thread; passes are made of small pieces.
class Retention {
 public:
  /// `pause` is told, once, why the disk is full, and `resume` when it is no longer.
  Retention(boost::asio::io_context& io, Jobs& jobs, Files& files, Pool& pool, RetentionOptions options,
            std::function<void(const std::string&)> pause, std::function<void()> resume,
            std::function<void(const std::string&)> report);
  ~Retention();

  /// Takes note of what the jobs of an earlier process need, and works from then on until stop().
  void start();
  void stop();

  /// A job that needs its inputs from now on, and one that needs them no more.
  void submitted(const JobPtr& job);
  void ended(const JobPtr& job);
  /// Deletes the video, the preview and the inputs that were made for a job, soon: when no open job needs them any
  /// more.
  void remove_files(const Job& job);

  /// One pass, and one look at the disk; what start() has done again and again.
  Awaitable<void> sweep();
  Awaitable<void> look_at_disk();

  DiskUse use() const;
  uint64_t removed_jobs() const;
  uint64_t removed_uploads() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace wan::serve
