#include "engine/serve/queue/jobs_state.h"

#include <algorithm>
#include <utility>

#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

/// At most so many bytes, without half a character at the end.
std::string cut(std::string text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  text.resize(most);
  return text + " [...]";
}

JobError cancelled_by_client() {
  return {400, "client_cancelled", "Request cancelled by the client"};
}

}  // namespace

void Jobs::State::begin(std::unique_ptr<Store> store) {
  std::vector<std::pair<KeptPtr, JobError>> failed;
  std::vector<KeptPtr> withdrawn;
  for (Job& job : store->unfinished()) {
    auto live = std::make_shared<KeptJob>();
    live->age = ++next_age;
    live->logs = store->logs(job.id);
    live->has_logs = true;
    live->job = std::move(job);
    const bool is_unreadable = is_ended(live->job.status);
    const auto error = std::exchange(live->job.error, std::nullopt);
    live->job.status = JobStatus::Queued;
    kept.add(live);
    if (is_unreadable) {
      failed.emplace_back(live, error.value_or(JobError{}));
    } else if (error || live->job.awaited) {
      // record() notes so that it was to be cancelled; for a sync run of an earlier server nobody waits.
      live->cancelling = true;
      withdrawn.push_back(live);
    } else {
      lines.add(live, live->age);
    }
  }
  for (const std::string& trouble : store->take_troubles()) report(trouble);
  writer = std::make_unique<StoreWriter>(io, std::move(store), report);
  for (const auto& [job, error] : failed) finish_failed(job, error);
  for (const KeptPtr& job : withdrawn) finish_cancelled(job);
}

void Jobs::State::end() {
  write_logs();
  log_timer.cancel();
  writer->stop();
  jobs = nullptr;
}

KeptPtr Jobs::State::open(const JobPtr& job) const {
  KeptPtr found = kept.find(*job);
  return found && !found->ending && !is_ended(found->job.status) ? found : nullptr;
}

void Jobs::State::accept(const KeptPtr& job) {
  job->age = ++next_age;
  kept.add(job);
  lines.add(job, job->age);
  if (jobs && jobs->on_submit) jobs->on_submit(job);
}

Job Jobs::State::record(const KeptJob& job) const {
  Job record = job.job;
  if (job.cancelling) record.error = cancelled_by_client();  // of an unfinished job: after a restart it ends so
  return record;
}

void Jobs::State::put(const KeptPtr& job) {
  writer->write({PutJob{record(*job)}}, StoreWriter::Refused::Retry, [state = shared_from_this()](auto error) {
    if (error) std::rethrow_exception(error);
  });
}

void Jobs::State::finish(const KeptPtr& job, Job end) {
  job->ending = true;
  lines.remove(*job);
  end.turn = false;
  end.ended = now_ms();
  write_end(job, std::make_shared<Job>(std::move(end)), false);
}

void Jobs::State::finish_cancelled(const KeptPtr& job) {
  Job end = job->job;
  end.status = JobStatus::Cancelled;
  end.error = cancelled_by_client();
  finish(job, std::move(end));
}

void Jobs::State::finish_failed(const KeptPtr& job, JobError error) {
  Job end = job->job;
  end.status = JobStatus::Failed;
  end.error = std::move(error);
  finish(job, std::move(end));
}

void Jobs::State::write_end(const KeptPtr& job, std::shared_ptr<Job> end, bool is_second_try) {
  std::vector<Change> changes = {PutJob{*end}};
  auto logs = std::make_shared<std::vector<LogEntry>>();
  if (!is_second_try) *logs = std::exchange(job->unwritten, {});
  if (!logs->empty()) changes.push_back(AddLogs{end->id, *logs});
  if (!end->webhook.empty()) changes.push_back(PutHook{end->id, 0, end->ended});
  auto done = [state = shared_from_this(), job, end, logs, is_second_try](std::exception_ptr error) {
    if (!error) return state->show_end(job, *end);
    if (is_second_try) {  // it is known in this process alone: better than a job that never ends
      state->show_end(job, *end);
    } else {  // its own texts are at fault
      end->output.reset();
      end->status = JobStatus::Failed;
      end->error = JobError{500, "internal_error", "The end of this job could not be kept"};
      state->write_end(job, end, true);
      // By themselves, as they may be what was refused.
      job->unwritten.insert(job->unwritten.begin(), logs->begin(), logs->end());
      state->with_logs.push_back(job);
      state->write_logs();
    }
    std::rethrow_exception(error);
  };
  writer->write(std::move(changes), StoreWriter::Refused::Retry, std::move(done));
}

void Jobs::State::show_end(const KeptPtr& job, const Job& end) {
  job->job = end;
  job->ending = false;
  job->change();
  kept.add_ended(job);
  if (jobs && jobs->on_end) jobs->on_end(job);
}

void Jobs::State::log(const KeptPtr& job, LogEntry entry) {
  if (job->logs.size() > kMostLogs) return;
  if (job->logs.size() == kMostLogs) entry = {entry.time, "WARN", "Further entries are left out"};
  entry.message = cut(std::move(entry.message), kMostLogBytes);
  if (job->unwritten.empty()) with_logs.push_back(job);
  job->logs.push_back(entry);
  job->unwritten.push_back(std::move(entry));
  job->change();
  if (log_timer_runs) return;
  log_timer_runs = true;
  log_timer.expires_after(std::chrono::seconds(1));
  log_timer.async_wait([state = shared_from_this()](const boost::system::error_code& error) {
    state->log_timer_runs = false;
    if (!error) state->write_logs();
  });
}

void Jobs::State::write_logs() {
  std::vector<Change> changes;
  for (const KeptPtr& job : std::exchange(with_logs, {})) {
    if (!job->unwritten.empty()) changes.push_back(AddLogs{job->job.id, std::exchange(job->unwritten, {})});
  }
  if (changes.empty()) return;
  writer->write(std::move(changes), StoreWriter::Refused::Retry, [state = shared_from_this()](auto error) {
    if (error) std::rethrow_exception(error);
  });
}

Awaitable<void> Jobs::State::until(KeptPtr job, std::chrono::milliseconds most, std::function<bool()> is_so) {
  const auto self = shared_from_this();
  const auto end = std::chrono::steady_clock::now() + most;
  while (!is_so()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) co_return;
    co_await Waiters::wait(self->io, job->waiters, left);
  }
}

bool Jobs::State::is_visible(const Job& job, const std::optional<std::string>& owner) {
  return !job.hidden && (!owner || *owner == job.owner);
}

}  // namespace wan::serve
