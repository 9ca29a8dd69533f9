// What Jobs is made of; its coroutines hold it, so that it outlives those that still wait.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/serve/queue/kept_jobs.h"
#include "engine/serve/queue/lines.h"
#include "engine/serve/queue/writer.h"

namespace wan::serve {

struct Jobs::State : std::enable_shared_from_this<Jobs::State> {
  State(Jobs* jobs, boost::asio::io_context& io, std::function<void(const std::string&)> report, EvenClock clock)
      : jobs(jobs),
        io(io),
        report(std::move(report)),
        clock(std::move(clock)),
        log_timer(io),
        kept(kKept, kKeptBytes) {}

  /// Takes what the store has unfinished, then gives the store to its thread.
  void begin(std::unique_ptr<Store> store);
  /// Writes what is left. Nothing is called back after that.
  void end();

  /// The job, where more can happen to it: it is in memory and its end is not on the way to the disk.
  KeptPtr open(const JobPtr& job) const;
  /// A new job is on the disk.
  void accept(const KeptPtr& job);
  /// The job's record as it is now.
  Job record(const KeptJob& job) const;
  /// On the disk soon.
  void put(const KeptPtr& job);
  /// The end of a job: on the disk, then for everybody to see. `end` has its status, and its output or error.
  void finish(const KeptPtr& job, Job end);
  void finish_cancelled(const KeptPtr& job);
  void finish_failed(const KeptPtr& job, JobError error);
  /// Where the store does not take the end as it is, a failure takes its place; where not even that, the end is in
  /// memory alone, and the next server renders the job again.
  void write_end(const KeptPtr& job, std::shared_ptr<Job> end, bool is_second_try);
  void show_end(const KeptPtr& job, const Job& end);
  void log(const KeptPtr& job, LogEntry entry);
  /// Logs go to the disk within a second.
  void write_logs();
  /// Returns when `is_so`, asked after each change of the job, or after `most`.
  Awaitable<void> until(KeptPtr job, std::chrono::milliseconds most, std::function<bool()> is_so);
  /// Whether `owner` may know of a job.
  static bool is_visible(const Job& job, const std::optional<std::string>& owner);

  Jobs* jobs;  // null at the end
  boost::asio::io_context& io;
  std::function<void(const std::string&)> report;
  const EvenClock clock;  // of quotas
  boost::asio::steady_timer log_timer;
  bool log_timer_runs = false;
  KeptJobs kept;
  Lines lines;
  uint64_t next_age = 0;
  std::vector<KeptPtr> with_logs;  // that have unwritten ones
  std::unique_ptr<StoreWriter> writer;
  bool refuses_changes = false;  // the database is damaged
};

}  // namespace wan::serve
