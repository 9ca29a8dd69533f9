#include "engine/serve/work/dispatcher.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "engine/base/text.h"
#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/times.h"
#include "engine/serve/work/dispatcher_state.h"
#include "engine/serve/work/job_error.h"

namespace wan::serve {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using boost::system::error_code;

/// Calls both.
std::function<void(const JobPtr&)> both(std::function<void(const JobPtr&)> first,
                                        std::function<void(const JobPtr&)> second) {
  if (!first) return second;
  return [first = std::move(first), second = std::move(second)](const JobPtr& job) {
    first(job);
    second(job);
  };
}

Awaitable<void> wait(asio::steady_timer& timer, std::chrono::milliseconds time) {
  error_code ignored;
  timer.expires_after(time);
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

}  // namespace

Dispatcher::State::State(asio::io_context& io, Jobs& jobs, const Settings& settings, fs::path program,
                         std::function<void(const std::string&)> report, const WorkTimes& times)
    : io(io),
      jobs(jobs),
      settings(settings),
      program(std::move(program)),
      data(fs::absolute(settings.data)),
      report(std::move(report)),
      times(times),
      timer(io) {
  for (const std::string& device : settings.devices) {
    Worker& worker = *workers.emplace_back(std::make_unique<Worker>(io));
    worker.shown.device = device;
  }
  for (const char* folder : {"work", "outputs", "previews"}) {
    fs::create_directories(data / folder);
    fs::permissions(data / folder, fs::perms::owner_all);
  }
}

void Dispatcher::State::dispatch_soon() {
  if (closed || std::exchange(dispatches, true)) return;
  asio::post(io, [state = shared_from_this()] {
    state->dispatches = false;
    state->dispatch();
  });
}

void Dispatcher::State::dispatch() {
  if (closed || stopping || !paused.empty() || Clock::now() < full_until) return;
  for (const auto& worker : workers) {
    if (!worker->is_idle()) continue;
    for (auto next = next_waiting(); next != waiting.end() && !worker->batch; next = next_waiting()) {
      Batch batch = std::move(*next);
      waiting.erase(next);
      for (Member& member : batch.members) member.ended = member.ended || is_over(*member.job);
      if (batch.has_ended())
        remove_folder(batch.folder);
      else
        give(*worker, std::move(batch));
    }
    if (worker->batch) continue;
    const std::vector<JobPtr> next = next_jobs(jobs.waiting(), costs, settings.window, worker->resident);
    if (next.empty()) return;
    Batch batch{.id = new_uuid(), .folder = {}, .members = {}};
    batch.folder = data / "work" / batch.id;
    for (const JobPtr& job : next) {
      batch.members.push_back({.job = job, .give_up = {}});
      jobs.begin(job, batch.id);
    }
    give(*worker, std::move(batch));
  }
}

void Dispatcher::State::give(Worker& worker, Batch batch) {
  worker.batch = std::move(batch);
  worker.batch->current = nullptr;
  for (Member& member : worker.batch->members) member.no_room = false;
  worker.shown.state = WorkerState::Working;
  worker.unloaded = false;
  worker.moved = Clock::now();
  worker.left.reset();
  worker.child->send(line_of(work_of(*worker.batch, settings, data)));
}

void Dispatcher::State::cancel(const JobPtr& job) {
  for (const auto& worker : workers) {
    if (!worker->batch || !worker->child) continue;
    Member* member = worker->batch->find(job->job.id);
    if (!member || member->ended || member->give_up) continue;
    member->give_up = Clock::now() + times.cancel;
    worker->child->send(line_of({{"do", "cancel"}, {"job", job->job.id}}));
  }
}

void Dispatcher::State::fail_late_jobs() {
  for (const JobPtr& job : deadlines.take_late(Clock::now())) {
    jobs.fail(job, start_timeout_error());
    cancel(job);
  }
}

void Dispatcher::State::look_for_hanging(Worker& worker) {
  const auto now = Clock::now();
  const auto text = [](auto time) { return duration(std::chrono::duration<double>(time).count()); };
  if (worker.ready && worker.beats && now - worker.heard > times.silent)
    return end_process(worker, "it has said nothing for " + text(times.silent) + ": it hangs");
  const std::chrono::seconds limit =
      settings.worker_timeout.value_or(worker.shown.device == "cpu" ? std::chrono::hours(0) : std::chrono::hours(2));
  if (limit.count() > 0 && worker.batch && now - worker.moved > limit)
    end_process(worker, "its job has made no progress for " + text(limit) + " (--worker-timeout)");
}

void Dispatcher::State::look() {
  fail_late_jobs();
  const auto now = Clock::now();
  // This process may have been stopped for a while itself: what workers said meanwhile is not read yet.
  const auto stopped_for = now - std::exchange(looked, now) - times.look;
  const bool was_stopped = stopped_for > times.silent / 4;
  for (const auto& worker : workers) {
    if (was_stopped) worker->heard += stopped_for, worker->moved += stopped_for;
    if (!worker->child) continue;
    look_for_hanging(*worker);
    if (!worker->ready && now - worker->since > times.ready)
      end_process(*worker, "it was not ready within " + std::to_string(times.ready.count()) + " ms");
    if (worker->batch)
      for (const Member& member : worker->batch->members) {
        if (!member.ended && is_over(*member.job)) cancel(member.job);
        if (!member.ended && member.give_up && now > *member.give_up)
          end_process(*worker, "a cancelled job did not end");
      }
    if (settings.idle_unload.count() > 0 && worker->is_idle() && !worker->unloaded &&
        now - worker->since >= settings.idle_unload) {
      worker->unloaded = true;
      worker->resident.clear();
      worker->child->send(line_of({{"do", "unload"}}));
      tell(*worker, "freed after " + duration(double(settings.idle_unload.count())) + " without a job");
    }
  }
}

void Dispatcher::State::remove_folder(const fs::path& folder) {
  asio::post(disk, [folder] {
    std::error_code stays;  // it costs only room, and goes at the next start
    fs::remove_all(folder, stays);
  });
}

Awaitable<void> Dispatcher::State::look_from_time_to_time(std::shared_ptr<State> state) {
  while (!state->closed) {
    state->look();
    state->dispatch();
    co_await wait(state->timer, state->times.look);
  }
}

Awaitable<void> Dispatcher::State::learn_costs(std::shared_ptr<State> state) {
  constexpr int64_t kJobs = 200;
  JobFilter filter;
  filter.ended = true;
  filter.most = kJobs;
  std::vector<Job> known;
  try {
    known = co_await state->jobs.list(filter);
  } catch (const std::exception&) {  // jobs go alone until one has ended
  }
  if (state->closed) co_return;
  std::reverse(known.begin(), known.end());  // the newest count most
  for (const Job& job : known)
    if (job.output) state->costs.add(job, job.output->seconds);
}

Dispatcher::Dispatcher(asio::io_context& io, Jobs& jobs, const Settings& settings, fs::path program,
                       std::function<void(const std::string&)> report, const WorkTimes& times)
    : state_(std::make_shared<State>(io, jobs, settings, std::move(program), std::move(report), times)) {
  const std::weak_ptr<State> weak = state_;
  jobs.on_submit = both(std::move(jobs.on_submit), [weak](const JobPtr& job) {
    const auto state = weak.lock();
    if (!state || state->closed) return;
    state->deadlines.add_new(job, State::Clock::now());
    state->dispatch_soon();
  });
  jobs.on_cancel = both(std::move(jobs.on_cancel), [weak](const JobPtr& job) {
    const auto state = weak.lock();
    if (state && !state->closed) state->cancel(job);
  });
}

Dispatcher::~Dispatcher() {
  state_->closed = state_->stopping = true;
  state_->timer.cancel();
  for (const auto& worker : state_->workers) {
    worker->timer.cancel();
    if (worker->child) worker->child->kill();
  }
  for (const auto& worker : state_->workers) worker->child.reset();
  state_->disk.join();
}

void Dispatcher::start() {
  state_->begun = State::Clock::now();
  state_->take_up();
  if (const size_t left = state_->jobs.unfinished().size(); left > 0 && state_->report)
    state_->report("[work] " + std::to_string(left) + (left == 1 ? " job waits" : " jobs wait"));
  state_->remove_old_folders();
  for (size_t i = 0; i < state_->workers.size(); ++i)
    asio::co_spawn(state_->io, State::live(state_, i), asio::detached);
  asio::co_spawn(state_->io, State::learn_costs(state_), asio::detached);
  asio::co_spawn(state_->io, State::look_from_time_to_time(state_), asio::detached);
}

Awaitable<void> Dispatcher::stop(std::chrono::seconds most) {
  const auto state = state_;
  state->stopping = true;
  for (const auto& worker : state->workers) {
    worker->timer.cancel();
    if (worker->child) worker->child->send(line_of({{"do", "stop"}}));
  }
  const auto any = [&] {
    return std::any_of(state->workers.begin(), state->workers.end(),
                       [](const auto& worker) { return !!worker->child; });
  };
  asio::steady_timer timer(state->io);
  constexpr std::chrono::seconds kKilled(5);  // a driver may take a moment to let a process go
  const auto end = State::Clock::now() + most;
  for (bool killed = false; any() && State::Clock::now() < end + kKilled;) {
    if (!killed && State::Clock::now() >= end) {
      killed = true;
      for (const auto& worker : state->workers)
        if (worker->child) state->end_process(*worker, "it did not stop in time");
    }
    co_await wait(timer, std::chrono::milliseconds(20));
  }
}

void Dispatcher::pause(const std::string& why) {
  state_->paused = why.empty() ? "paused" : why;
}

void Dispatcher::resume() {
  state_->paused.clear();
  state_->dispatch_soon();
}

const std::string& Dispatcher::paused() const {
  return state_->paused;
}

std::vector<WorkerState> Dispatcher::workers() const {
  std::vector<WorkerState> all;
  for (const auto& worker : state_->workers) all.push_back(worker->shown);
  return all;
}

std::optional<std::pair<double, double>> Dispatcher::forecast(const LiveJob& job) const {
  const State& state = *state_;
  if (is_over(job)) return std::nullopt;
  const auto left = [&](const Worker& worker) {
    const double gone = std::chrono::duration<double>(State::Clock::now() - worker.left_at).count();
    return worker.left ? std::optional(std::max(0.0, *worker.left - gone)) : std::nullopt;
  };
  if (job.job.status == JobStatus::Running) {
    for (const auto& worker : state.workers)
      if (worker->batch && worker->batch->find(job.job.id))
        if (const auto seconds = left(*worker)) return std::pair(0.0, *seconds);
    return std::nullopt;
  }
  const std::optional<double> own = state.costs.seconds(job.job), mean = state.costs.mean();
  if (!own || !mean || state.workers.empty()) return std::nullopt;
  double before = double(state.jobs.position(job)) * *mean;
  for (const auto& worker : state.workers)
    if (worker->batch) before += left(*worker).value_or(*mean);
  before /= double(state.workers.size());
  return std::pair(before, before + *own);
}

}  // namespace wan::serve
