// The jobs of this server in memory: what handlers ask and workers tell. Everything runs on the io_context's thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/serve/net/exchange.h"
#include "engine/serve/queue/clocks.h"
#include "engine/serve/queue/job.h"
#include "engine/serve/queue/store.h"

namespace wan::serve {

/// A job with what is known of it at this moment. Handlers hold it by shared_ptr; it changes between two awaits.
struct LiveJob {
  Job job;
  JobProgress progress;
  std::vector<LogEntry> logs;  // complete where `has_logs`
  bool has_logs = false;       // of unfinished jobs, and of ended ones that read_logs() was asked for
  bool cancelling = false;     // asked for, not yet ended
  uint64_t version = 0;        // counts up with every change
};
using JobPtr = std::shared_ptr<LiveJob>;

enum class CancelAnswer { Requested, AlreadyEnded, NotFound };

/// Keeps unfinished jobs and the last `kKept` ended ones in memory; asks the store for others. Changes go to the store
/// by a thread of its own that commits what has come meanwhile at once.
///
/// Where the store refuses (a full disk), submit(), write() and what asks it throw HttpError 503; what the dispatcher tells
/// is kept and written when the store takes it again.
class Jobs {
 public:
  static constexpr size_t kKept = 1000;             // of ended jobs; fewer where their texts are long
  static constexpr size_t kKeptBytes = 16 << 20;    // of inputs, outputs and logs of these
  static constexpr size_t kMostLogs = 2000;         // entries of one job; later ones are left out
  static constexpr size_t kMostLogBytes = 8 << 10;  // of one entry; longer ones are cut

  /// Reads what is unfinished: jobs that were running are queued again. Throws what the store throws.
  Jobs(boost::asio::io_context& io, std::unique_ptr<Store> store, std::function<void(const std::string&)> report,
       Clocks clocks = clocks_of_machine());
  ~Jobs();  // after everything is written

  /// Now, in ms since 1970, by the clock that quotas go by: nobody sets it, and it goes on over restarts (EvenClock).
  int64_t quota_time() const;
  /// Returns once the job is on the disk. An empty id, preview key or time is filled in. Throws HttpError 503 where the
  /// disk is full or the store refuses, 413 where the job has more text than it can hold.
  Awaitable<JobPtr> submit(Job job);
  /// Null where there is none, or where `owner` is not its owner (nothing: everybody's).
  Awaitable<JobPtr> find(std::string id, std::optional<std::string> owner);
  Awaitable<std::vector<Job>> list(JobFilter filter);
  /// Fills `logs` of an ended job.
  Awaitable<void> read_logs(JobPtr job);
  /// A queued job ends at once; of a running one the worker is told (on_cancel), also of a queued one that has a batch.
  /// Returns when it is on the disk, or after two seconds.
  Awaitable<CancelAnswer> cancel(std::string id, std::optional<std::string> owner);
  /// Removes an ended job and its files (on_remove): its texts are erased, and what it counts for quotas stays. False
  /// where there is none, or where it has not ended.
  Awaitable<bool> remove(std::string id, std::optional<std::string> owner);
  /// Returns when the job's version is another than `seen`, or after `most`.
  Awaitable<void> changed(JobPtr job, uint64_t seen, std::chrono::milliseconds most);
  /// How many queued jobs are before it: 0 is next. In the order in which `waiting` gives them.
  int64_t position(const LiveJob& job) const;

  /// Queued jobs in the order in which they are to begin: those that have a batch, then normal before low, owners in turns,
  /// then by age.
  std::vector<JobPtr> waiting() const;
  /// Queued and running ones.
  std::vector<JobPtr> unfinished() const;

  // What the dispatcher tells; each is in memory at once and on the disk soon, an end before anyone is told of it: until
  // then the job looks as before, but is no longer waiting. Of jobs that have ended nothing more is taken. An end of a job
  // with a webhook writes its PutHook, too.
  void begin(const JobPtr& job, const std::string& batch);  // Queued -> has a batch
  void running(const JobPtr& job);
  void requeue(const JobPtr& job, bool worker_died);  // Running -> Queued, keeps its batch; ends where it was cancelled
  void turn(const JobPtr& job, bool is_its);          // whether a worker works on it, or prepares it
  /// The server before this one ended without its word during the job's turn, when `saved` was what it had saved: counts
  /// one more interruption, or the first one where that was other than the last time.
  void interrupted(const JobPtr& job, const std::string& saved);
  void uninterrupted(const JobPtr& job);  // its worker left it in good order: none of them counts any more
  void progress(const JobPtr& job, JobProgress progress);
  void log(const JobPtr& job, const std::string& level, const std::string& message);
  void done(const JobPtr& job, JobOutput output);
  void fail(const JobPtr& job, JobError error);
  void cancelled(const JobPtr& job);

  /// Any change to the store that handlers want on the disk before they answer (uploads). A RemoveJob is for ended jobs.
  Awaitable<void> write(std::vector<Change> changes);
  /// A query of the store, on the store's thread: `question` must own what it needs, as it may run after the coroutine that
  /// asks has ended. Throws what it throws.
  template <typename T>
  Awaitable<T> ask(std::function<T(Store&)> question);

  /// The database is damaged: from now on submit() and write() throw HttpError 503. Reading goes on.
  void refuse_changes(const std::string& why);

  std::function<void(const JobPtr&)> on_submit, on_cancel, on_end;  // set once, before io_context::run()
  std::function<void(const Job&)> on_remove;                        // its files can go

 private:
  struct State;
  Awaitable<void> ask_store(std::function<void(Store&)> question);
  std::shared_ptr<State> state_;
};

template <typename T>
Awaitable<T> Jobs::ask(std::function<T(Store&)> question) {
  if constexpr (std::is_void_v<T>) {
    co_await ask_store(std::move(question));
  } else {
    auto answer = std::make_shared<std::optional<T>>();
    std::function<void(Store&)> keep = [answer, question = std::move(question)](Store& store) {
      answer->emplace(question(store));
    };
    co_await ask_store(std::move(keep));
    co_return std::move(**answer);
  }
}

}  // namespace wan::serve
