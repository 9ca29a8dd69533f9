#include "engine/serve/retention.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <system_error>
#include <utility>

#include "engine/serve/disk_watch.h"
#include "engine/serve/job_files.h"
#include "engine/serve/oldest_kept.h"

namespace wan::serve {
namespace {

constexpr int64_t kDay = 24 * 3600 * 1000;       // ms
constexpr int64_t kHiddenFor = kDay + 3600'000;  // removed jobs still count in quotas of 24 hours

}  // namespace

struct Retention::State : std::enable_shared_from_this<State> {
  boost::asio::io_context& io;
  Jobs& jobs;
  Files& files;
  Pool& pool;
  const RetentionOptions options;
  const std::function<void(const std::string&)> report;
  boost::asio::steady_timer sweep_timer, look_timer;
  AgeClock ages;
  OldestKept oldest;
  DiskWatch disk;
  const std::shared_ptr<JobFiles> job_files;
  bool stopped = false;
  std::string doubt;  // that was reported
  DiskUse use;
  uint64_t removed_jobs = 0, removed_uploads = 0;

  State(boost::asio::io_context& io, Jobs& jobs, Files& files, Pool& pool, const RetentionOptions& options,
        std::function<void(const std::string&)> pause, std::function<void()> resume,
        std::function<void(const std::string&)> report)
      : io(io),
        jobs(jobs),
        files(files),
        pool(pool),
        options(options),
        report(report),
        sweep_timer(io),
        look_timer(io),
        ages(options.clocks, options.data / "clock"),
        oldest(jobs, files, ages),
        disk(pool, options.data, options.least_free_bytes, options.free_bytes, std::move(pause), std::move(resume),
             report),
        job_files(std::make_shared<JobFiles>(io, jobs, files, pool, options.data)) {}

  Awaitable<void> wait(boost::asio::steady_timer& timer, std::chrono::milliseconds time) {
    timer.expires_after(time);
    boost::system::error_code cancelled;
    co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, cancelled));
  }

  Awaitable<void> repeat(boost::asio::steady_timer& timer, std::chrono::seconds every,
                         Awaitable<void> (State::*work)()) {
    for (const std::shared_ptr<State> self = shared_from_this(); !stopped;) {
      try {
        co_await (this->*work)();
      } catch (const std::exception& error) {
        report(std::string("[retention] does not get on: ") + error.what());
      }
      if (!stopped) co_await wait(timer, every);
    }
  }

  int64_t keep() const { return options.keep.count() * 1000; }

  /// Whether ages can be trusted; why not is told once.
  bool trusts_ages() {
    const std::string why = ages.doubt();
    if (!why.empty() && doubt.empty())
      report("[retention] " + why + "; nothing is removed until that is certain, a day at most");
    if (why.empty() && !doubt.empty()) report("[retention] the clock is believed again");
    doubt = why;
    return why.empty();
  }

  // GCC 12 destroys a closure twice that is a temporary in an expression with co_await, and so is what `if` asks there:
  // both have names here.
  Awaitable<void> sweep() {
    const bool removes = trusts_ages();
    if (removes) {
      co_await forget_hidden();
      co_await remove_old_jobs();
      co_await remove_old_uploads();
    }
    const int64_t time = ages.now();
    const Scan scan = co_await scan_all(keep() > 0 ? time - keep() - kDay : 0, time - kDay);
    use = scan.use;
    if (removes) {
      co_await remove_leftovers(jobs, files, pool, scan, time);
      co_await remove_for_bytes();
      auto note = [this] {
        try {
          ages.keep_time();
        } catch (const std::runtime_error&) {  // a full disk: the next start waits an hour before it removes
        }
      };
      co_await pool.run(std::move(note));
    }
    std::function<void(Store&)> erase = [](Store& store) { store.wipe_removed(); };
    co_await jobs.ask<void>(std::move(erase));
  }

  /// The records of jobs whose files are gone.
  Awaitable<void> forget_hidden() {
    while (!stopped) {
      const std::vector<EndedJob> all = co_await oldest.jobs(true, kHiddenFor);
      if (all.empty()) co_return;
      std::vector<Change> changes;
      for (const EndedJob& job : all) changes.push_back(RemoveJob{job.id});
      co_await jobs.write(std::move(changes));
      for (const EndedJob& job : all) ages.forget(job.id);
    }
  }

  Awaitable<void> remove_job(std::string id) {
    std::optional<std::string> everybody;
    const bool removed = co_await jobs.remove(std::move(id), std::move(everybody));
    if (removed) ++removed_jobs;
  }

  Awaitable<void> remove_old_jobs() {
    if (keep() == 0) co_return;
    while (!stopped) {
      const std::vector<EndedJob> all = co_await oldest.jobs(false, keep());
      const uint64_t before = removed_jobs;
      for (const EndedJob& job : all) co_await remove_job(job.id);
      if (removed_jobs == before) co_return;
    }
  }

  Awaitable<void> remove_kept_upload(std::string name) {
    const bool removed = co_await job_files->remove_upload(name);
    if (!removed) co_return;
    ages.forget(name);
    ++removed_uploads;
  }

  Awaitable<void> remove_old_uploads() {
    if (keep() == 0) co_return;
    while (!stopped) {
      const std::vector<PutUpload> all = co_await oldest.uploads(keep());
      const uint64_t before = removed_uploads;
      for (const PutUpload& upload : all) co_await remove_kept_upload(upload.file);
      if (removed_uploads == before) co_return;
    }
  }

  Awaitable<Scan> scan_all(int64_t files_before, int64_t parts_before) {
    auto work = [&data = options.data, files_before, parts_before] {
      return scan_data(data, files_before, parts_before);
    };
    co_return co_await pool.run(std::move(work));
  }

  Awaitable<void> remove_for_bytes() {
    if (options.keep_bytes == 0) co_return;
    uint64_t total = use.outputs + use.previews + use.uploads + use.parts;
    const int64_t youngest = options.youngest.count() * 1000;
    while (!stopped && total > options.keep_bytes) {
      const std::vector<EndedJob> ended = co_await oldest.jobs(false, youngest);
      const std::vector<PutUpload> uploads = co_await oldest.uploads(youngest);
      size_t job = 0, upload = 0, removed = 0;
      while (total > options.keep_bytes && (job < ended.size() || upload < uploads.size())) {
        const bool takes_job =
            job < ended.size() && (upload == uploads.size() || ended[job].ended <= uploads[upload].created);
        const uint64_t before = removed_jobs + removed_uploads;
        const uint64_t bytes = takes_job ? ended[job].bytes : uploads[upload].bytes;
        if (takes_job)
          co_await remove_job(ended[job++].id);
        else
          co_await remove_kept_upload(uploads[upload++].file);
        if (removed_jobs + removed_uploads == before) continue;
        total -= std::min(total, bytes);
        ++removed;
      }
      if (removed == 0) co_return;
    }
  }

  Awaitable<void> look_at_disk() {
    if (!stopped) co_await disk.look();
  }
};

Retention::Retention(boost::asio::io_context& io, Jobs& jobs, Files& files, Pool& pool, RetentionOptions options,
                     std::function<void(const std::string&)> pause, std::function<void()> resume,
                     std::function<void(const std::string&)> report)
    : state_(std::make_shared<State>(io, jobs, files, pool, options, std::move(pause), std::move(resume),
                                     std::move(report))) {
  const std::weak_ptr<State> weak = state_;
  files.in_use().listen(
      [weak](const std::string& name, bool is_orphan) {
        if (const std::shared_ptr<State> state = weak.lock(); state && !state->stopped)
          state->job_files->freed(name, is_orphan);
      },
      [weak](const std::string& name) {
        if (const std::shared_ptr<State> state = weak.lock()) state->ages.note(name);
      });
}

Retention::~Retention() {
  stop();
}

void Retention::start() {
  for (const JobPtr& job : state_->jobs.unfinished()) state_->job_files->claim(job->job);
  const auto run = [&](boost::asio::steady_timer& timer, std::chrono::seconds every, Awaitable<void> (State::*work)()) {
    boost::asio::co_spawn(
        state_->io, [state = state_, &timer, every, work] { return state->repeat(timer, every, work); },
        boost::asio::detached);
  };
  boost::asio::co_spawn(
      state_->io,
      [state = state_]() -> Awaitable<void> { co_await count_parts(state->files, state->pool, state->options.data); },
      boost::asio::detached);
  run(state_->look_timer, state_->options.look_every, &State::look_at_disk);
  run(state_->sweep_timer, state_->options.every, &State::sweep);
}

void Retention::stop() {
  state_->stopped = true;
  state_->sweep_timer.cancel();
  state_->look_timer.cancel();
}

void Retention::submitted(const JobPtr& job) {
  state_->job_files->claim(job->job);
}

void Retention::ended(const JobPtr& job) {
  state_->ages.note(job->job.id);
  state_->job_files->release(job->job.id);
}

void Retention::remove_files(const Job& job) {
  for (const std::string& name : files_needed_by(job))
    if (Files::is_input_name(name)) state_->ages.forget(name);
  state_->job_files->remove(job);
}

Awaitable<void> Retention::sweep() {
  return state_->sweep();
}

Awaitable<void> Retention::look_at_disk() {
  return state_->look_at_disk();
}

DiskUse Retention::use() const {
  DiskUse use = state_->use;
  use.free = state_->disk.free_bytes();
  return use;
}

uint64_t Retention::removed_jobs() const {
  return state_->removed_jobs;
}

uint64_t Retention::removed_uploads() const {
  return state_->removed_uploads;
}

}  // namespace wan::serve
