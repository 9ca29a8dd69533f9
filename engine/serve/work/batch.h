// Jobs that a worker renders together, and which ones these are.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/serve/queue/jobs.h"
#include "engine/serve/settings.h"
#include "engine/serve/work/costs.h"
#include "engine/serve/work/protocol.h"

namespace wan::serve {

/// A job of a batch.
struct Member {
  JobPtr job;
  bool ended = false;    // the worker, or the dispatcher, has nothing more to do
  bool no_room = false;  // the worker left it, since the disk was full
  std::optional<std::chrono::steady_clock::time_point> give_up;  // it was told to end: then the worker is killed
};

struct Batch {
  std::string id;
  std::filesystem::path folder;
  std::vector<Member> members;
  Member* current = nullptr;  // that the worker works on, or prepares
  int64_t unread = 0;         // how many workers died before they said a word of it
  bool is_examined = true;    // false: what an earlier server left of it is being looked at

  /// Null where there is none.
  Member* find(const std::string& job);
  bool has_ended() const;
  /// Whether one of its jobs may be the reason why servers ended: one more such end, and that job fails.
  bool is_suspect() const;
};

/// A job in whose turn so many servers ended in a row, and that saved nothing in between, is taken for the reason.
inline constexpr int64_t kMostInterruptions = 3;

/// Whether nothing is to be rendered of it any more: it has ended, or it waits and was cancelled.
bool is_over(const LiveJob& job);

/// The jobs that begin next together, of those that wait and have no batch: the first one, and others of its model and
/// priority as long as those hold the first one up by no more than `window`. One alone where costs are not known, or
/// where the weights that stay loaded are those of `resident` (a model_key): nothing is gained there.
std::vector<JobPtr> next_jobs(const std::vector<JobPtr>& waiting, const Costs& costs, std::chrono::seconds window,
                              const std::string& resident);

/// Where the job's video appears: a name that nobody guesses, and the same each time.
std::filesystem::path output_of(const Job& job, const std::filesystem::path& data);

/// What the worker gets. A job without model or precision has the operator's.
WorkBatch work_of(const Batch& batch, const Settings& settings, const std::filesystem::path& data);

}  // namespace wan::serve
