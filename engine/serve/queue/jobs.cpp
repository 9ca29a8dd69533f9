#include "engine/serve/queue/jobs.h"

#include <algorithm>
#include <utility>

#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/jobs_state.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

constexpr std::chrono::seconds kCancelTime{2};

/// A refusal in the vendor's form.
HttpError refusal(int status, const std::string& detail, const std::string& type) {
  Answer answer;
  answer.status = status;
  const nlohmann::ordered_json body = {{"detail", detail}, {"error_type", type}};
  answer.body = body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  answer.headers = {{"X-Fal-Error-Type", type}};
  if (status == 503) answer.headers.emplace_back("Retry-After", "10");
  return HttpError(std::move(answer));
}

HttpError unavailable() {
  return refusal(503, "The server cannot keep jobs at present; try again later", "internal_error");
}

/// Returns when the writer has done it; refusals of the store become answers.
Awaitable<void> wait_for(std::shared_ptr<Outcome> outcome) {
  try {
    co_await outcome->wait();
  } catch (const StoreUnavailable&) {  // the report has its words, which name files of the server
    throw unavailable();
  } catch (const JobTooLarge& error) {
    throw refusal(413, error.what(), "bad_request");
  }
}

}  // namespace

Jobs::Jobs(boost::asio::io_context& io, std::unique_ptr<Store> store, std::function<void(const std::string&)> report,
           Clocks clocks)
    : state_(
          std::make_shared<State>(this, io, std::move(report), EvenClock(std::move(clocks), store->last_charged()))) {
  state_->begin(std::move(store));
}

Jobs::~Jobs() {
  state_->end();
}

int64_t Jobs::quota_time() const {
  return state_->clock.now();
}

Awaitable<JobPtr> Jobs::submit(Job job) {
  const auto state = state_;
  if (state->refuses_changes) throw unavailable();
  if (job.id.empty()) job.id = new_uuid();
  if (job.preview_key.empty()) job.preview_key = random_hex(16);
  if (job.created == 0) job.created = now_ms();
  if (job.charged == 0) job.charged = state->clock.now();
  if (state->kept.find(job.id)) throw std::invalid_argument("[job] " + job.id + " is there already");
  auto live = std::make_shared<KeptJob>();
  live->job = std::move(job);
  live->has_logs = true;
  const auto outcome = std::make_shared<Outcome>(state->io);
  StoreWriter::Done done = [state, live, outcome](std::exception_ptr error) {
    // The job is accepted even where nobody waits for it any more: it is on the disk.
    if (!error) state->accept(live);
    outcome->set(error);
  };
  state->writer->write({PutJob{live->job}}, StoreWriter::Refused::Fail, std::move(done));
  co_await wait_for(outcome);
  co_return live;
}

Awaitable<JobPtr> Jobs::find(std::string id, std::optional<std::string> owner) {
  const auto state = state_;
  if (id.size() > 64) co_return nullptr;
  KeptPtr live = state->kept.find(id);
  if (!live) {
    std::function<std::optional<Job>(Store&)> question = [id](Store& store) { return store.find(id); };
    std::optional<Job> job = co_await ask(std::move(question));
    live = state->kept.find(id);  // another may have asked for it meanwhile
    if (!live && job && is_ended(job->status)) {
      live = std::make_shared<KeptJob>();
      live->job = std::move(*job);
      if (!live->job.hidden) state->kept.add_ended(live);
    }
  }
  co_return live&& State::is_visible(live->job, owner) ? live : nullptr;
}

Awaitable<std::vector<Job>> Jobs::list(JobFilter filter) {
  const auto state = state_;
  std::function<std::vector<Job>(Store&)> question = [filter](Store& store) { return store.list(filter); };
  std::vector<Job> jobs = co_await ask(std::move(question));
  for (Job& job : jobs) {
    const KeptPtr live = state->kept.find(job.id);
    if (!live) continue;
    const int64_t sequence = job.sequence;  // the store alone knows it
    job = live->job;
    job.sequence = sequence;
  }
  co_return jobs;
}

Awaitable<void> Jobs::read_logs(JobPtr job) {
  const auto state = state_;
  if (job->has_logs) co_return;
  std::function<std::vector<LogEntry>(Store&)> question = [id = job->job.id](Store& store) { return store.logs(id); };
  std::vector<LogEntry> logs = co_await ask(std::move(question));
  job->logs = std::move(logs);
  job->has_logs = true;
  // They count for what is kept, from now on.
  if (const KeptPtr kept = state->kept.find(*job); kept && is_ended(kept->job.status)) state->kept.add_ended(kept);
}

Awaitable<CancelAnswer> Jobs::cancel(std::string id, std::optional<std::string> owner) {
  const auto state = state_;
  const JobPtr found = co_await find(std::move(id), std::move(owner));
  if (!found) co_return CancelAnswer::NotFound;
  const KeptPtr live = state->kept.find(*found);
  if (!live || is_ended(live->job.status)) co_return CancelAnswer::AlreadyEnded;
  const std::function<bool()> has_ended = [live] { return is_ended(live->job.status); };
  if (live->ending) {
    co_await state->until(live, kCancelTime, has_ended);
    co_return has_ended() ? CancelAnswer::AlreadyEnded : CancelAnswer::Requested;
  }
  const bool is_queued = live->job.status == JobStatus::Queued, is_first = !live->cancelling;
  const auto written = std::make_shared<bool>(!is_first);
  live->cancelling = true;
  if (is_queued) {
    state->finish_cancelled(live);
  } else if (is_first) {
    live->change();
    StoreWriter::Done done = [live, written](std::exception_ptr) {
      *written = true;
      live->waiters->wake();
    };
    state->writer->write({PutJob{state->record(*live)}}, StoreWriter::Refused::Retry, std::move(done));
  }
  if (on_cancel && !(is_queued && live->job.batch.empty())) on_cancel(live);
  std::function<bool()> is_safe = [has_ended, is_queued, written] { return has_ended() || (!is_queued && *written); };
  co_await state->until(live, kCancelTime, std::move(is_safe));
  co_return CancelAnswer::Requested;
}

Awaitable<bool> Jobs::remove(std::string id, std::optional<std::string> owner) {
  const auto state = state_;
  const JobPtr found = co_await find(std::move(id), std::move(owner));
  if (!found) co_return false;
  const KeptPtr live = state->kept.find(*found);
  if (!live || !is_ended(live->job.status) || live->removing) co_return false;
  live->removing = true;
  Job rest = live->job;
  rest.hidden = true;
  rest.input = nullptr;
  rest.fields = nullptr;
  rest.webhook.clear();
  rest.output.reset();
  rest.error.reset();
  const auto outcome = std::make_shared<Outcome>(state->io);
  StoreWriter::Done done = [state, live, outcome](std::exception_ptr error) {
    live->removing = false;
    if (!error) {
      const Job removed = live->job;
      live->job.hidden = true;
      live->change();
      state->kept.remove(removed.id);
      if (state->jobs && state->jobs->on_remove) state->jobs->on_remove(removed);
    }
    outcome->set(error);
  };
  std::vector<Change> changes = {PutJob{std::move(rest)}, RemoveHook{live->job.id}};
  state->writer->write(std::move(changes), StoreWriter::Refused::Fail, std::move(done));
  co_await wait_for(outcome);
  co_return true;
}

Awaitable<void> Jobs::changed(JobPtr job, uint64_t seen, std::chrono::milliseconds most) {
  const auto state = state_;
  if (job->version != seen || most.count() <= 0) co_return;
  const KeptPtr live = state->kept.find(*job);
  const auto waiters = live ? live->waiters : std::make_shared<Waiters>();  // one that is not kept changes no more
  co_await Waiters::wait(state->io, waiters, most);
}

int64_t Jobs::position(const LiveJob& job) const {
  return state_->lines.position(job);
}

std::vector<JobPtr> Jobs::waiting() const {
  return state_->lines.in_order();
}

std::vector<JobPtr> Jobs::unfinished() const {
  const std::vector<KeptPtr> jobs = state_->kept.unfinished();
  return {jobs.begin(), jobs.end()};
}

void Jobs::begin(const JobPtr& job, const std::string& batch) {
  const KeptPtr live = state_->open(job);
  if (!live) return;
  if (live->job.batch.empty()) state_->lines.count_turn(*live);
  live->job.batch = batch;
  if (live->job.status == JobStatus::Queued) state_->lines.add(live, live->age);
  state_->put(live);
  live->change();
}

void Jobs::running(const JobPtr& job) {
  const KeptPtr live = state_->open(job);
  if (!live || live->job.status == JobStatus::Running) return;
  state_->lines.remove(*live);
  live->job.status = JobStatus::Running;
  if (live->job.started == 0) live->job.started = now_ms();
  state_->put(live);
  live->change();
}

void Jobs::requeue(const JobPtr& job, bool worker_died) {
  const KeptPtr live = state_->open(job);
  if (!live) return;
  if (worker_died) ++live->job.deaths;
  if (live->cancelling) return state_->finish_cancelled(live);
  live->job.status = JobStatus::Queued;
  live->job.turn = false;
  live->progress = {};
  state_->lines.add(live, live->age);
  state_->put(live);
  live->change();
}

void Jobs::turn(const JobPtr& job, bool is_its) {
  const KeptPtr live = state_->open(job);
  if (!live || live->job.turn == is_its) return;
  live->job.turn = is_its;
  state_->put(live);
}

void Jobs::interrupted(const JobPtr& job, const std::string& saved) {
  const KeptPtr live = state_->open(job);
  if (!live) return;
  live->job.interruptions = live->job.saved == saved ? live->job.interruptions + 1 : 1;
  live->job.saved = saved;
  live->job.turn = false;
  state_->put(live);
}

void Jobs::uninterrupted(const JobPtr& job) {
  const KeptPtr live = state_->open(job);
  if (!live || live->job.interruptions == 0) return;
  live->job.interruptions = 0;
  live->job.saved.clear();
  state_->put(live);
}

void Jobs::progress(const JobPtr& job, JobProgress progress) {
  const KeptPtr live = state_->open(job);
  if (!live) return;
  live->progress = std::move(progress);
  live->change();
}

void Jobs::log(const JobPtr& job, const std::string& level, const std::string& message) {
  if (const KeptPtr live = state_->open(job)) state_->log(live, {now_ms(), level, message});
}

void Jobs::done(const JobPtr& job, JobOutput output) {
  const KeptPtr live = state_->open(job);
  if (!live) return;
  Job end = live->job;
  end.status = JobStatus::Done;
  end.output = std::move(output);
  state_->finish(live, std::move(end));
}

void Jobs::fail(const JobPtr& job, JobError error) {
  if (const KeptPtr live = state_->open(job)) state_->finish_failed(live, std::move(error));
}

void Jobs::cancelled(const JobPtr& job) {
  if (const KeptPtr live = state_->open(job)) state_->finish_cancelled(live);
}

Awaitable<void> Jobs::write(std::vector<Change> changes) {
  const auto state = state_;
  if (state->refuses_changes) throw unavailable();
  std::vector<std::string> removed;
  for (const Change& change : changes) {
    if (const auto* one = std::get_if<RemoveJob>(&change)) removed.push_back(one->job);
  }
  const auto outcome = std::make_shared<Outcome>(state->io);
  StoreWriter::Done done = [state, outcome, removed = std::move(removed)](std::exception_ptr error) {
    for (const std::string& id : removed) {
      const KeptPtr live = error ? nullptr : state->kept.find(id);
      if (live && is_ended(live->job.status)) state->kept.remove(id);
    }
    outcome->set(error);
  };
  state->writer->write(std::move(changes), StoreWriter::Refused::Fail, std::move(done));
  co_await wait_for(outcome);
}

void Jobs::refuse_changes(const std::string& why) {
  state_->refuses_changes = true;  // the store's thread hears of it after what was asked of it before
  const std::function<void(Store&)> refuse = [why](Store& store) { store.refuse_changes(why); };
  state_->writer->ask(refuse, [](const std::exception_ptr&) {});
}

Awaitable<void> Jobs::ask_store(std::function<void(Store&)> question) {
  const auto state = state_;
  const auto outcome = std::make_shared<Outcome>(state->io);
  state->writer->ask(std::move(question), [outcome](std::exception_ptr error) { outcome->set(error); });
  co_await wait_for(outcome);
}

}  // namespace wan::serve
