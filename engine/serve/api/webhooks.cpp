#include "engine/serve/api/webhooks.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "engine/base/text.h"

namespace wan::serve {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

int64_t wall_now() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

struct Webhooks::State : std::enable_shared_from_this<State> {
  boost::asio::io_context& io;
  Jobs& jobs;
  const WebhookOptions options;
  const std::function<std::string(const Job&)> body;
  const std::function<void(const std::string&)> report;
  std::optional<HookSender> sender;
  boost::asio::steady_timer timer;

  /// Of each job its tries so far; it lies in exactly one of the places below, or is under way.
  std::map<std::string, int64_t> tries;
  std::set<std::pair<Clock::time_point, std::string>> later;
  std::deque<std::string> ready;
  std::map<std::string, std::deque<std::string>> behind;  // of hosts with enough messages under way
  std::map<std::string, size_t> of_host;                  // under way
  size_t under_way = 0;
  bool stopped = false;
  Counts counts;

  State(boost::asio::io_context& io, Jobs& jobs, WebhookOptions options, std::function<std::string(const Job&)> body,
        std::function<void(const std::string&)> report)
      : io(io), jobs(jobs), options(options), body(std::move(body)), report(std::move(report)), timer(io) {
    sender.emplace(io, options.sending);
  }

  void add(const std::string& job, int64_t tried, milliseconds pause) {
    if (!tries.try_emplace(job, tried).second) return;  // at most one message of a job is on its way
    later.emplace(Clock::now() + pause, job);
    pump();
  }

  /// Begins what is due, as far as there is room, and waits for the next.
  void pump() {
    if (stopped) return;
    for (; !later.empty() && later.begin()->first <= Clock::now(); later.erase(later.begin()))
      ready.push_back(later.begin()->second);
    while (!ready.empty() && under_way < options.most_at_once) {
      std::string job = std::move(ready.front());
      ready.pop_front();
      ++under_way;
      boost::asio::co_spawn(
          io, [self = shared_from_this(), job = std::move(job)] { return self->deliver(job); }, boost::asio::detached);
    }
    if (later.empty()) return;
    timer.expires_at(later.begin()->first);
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      if (const auto self = weak.lock(); self && !error) self->pump();
    });
  }

  /// Nothing may leave it: nobody waits for it.
  Awaitable<void> deliver(std::string id) {
    bool sent = false;
    try {
      sent = co_await begin(id);
    } catch (const std::exception& error) {
      report("[webhook] of job " + id + " waits, since the store refuses: " + error.what());
      later.emplace(Clock::now() + options.longest_pause, id);
    }
    if (sent) co_return;
    --under_way;
    take_from_behind();
    pump();
  }

  /// Of each host with room, one of those that wait behind it: its place is free where what took it was not sent.
  void take_from_behind() {
    for (auto host = behind.begin(); host != behind.end();) {
      const auto now = of_host.find(host->first);
      if (now == of_host.end() || now->second < options.most_of_a_host) {
        ready.push_front(std::move(host->second.front()));
        host->second.pop_front();
      }
      host = host->second.empty() ? behind.erase(host) : std::next(host);
    }
  }

  /// False where nothing was sent: the job has no use for it any more, or its host has enough.
  Awaitable<bool> begin(const std::string& id) {
    std::optional<std::string> everybody;
    const JobPtr job = co_await jobs.find(id, std::move(everybody));
    if (stopped) co_return false;
    if (!job || job->job.hidden || job->job.webhook.empty() || !is_ended(job->job.status)) {
      tries.erase(id);
      write(RemoveHook{id});
      co_return false;
    }
    const std::string host = webhook_host(job->job.webhook);
    if (const auto now = of_host.find(host); now != of_host.end() && now->second >= options.most_of_a_host) {
      behind[host].push_back(id);
      co_return false;
    }
    std::string text = body(job->job);
    ++of_host[host];
    sender->send(job->job.webhook, std::move(text),
                 [weak = weak_from_this(), id, host, url = job->job.webhook](const std::string& failure) {
                   if (const auto self = weak.lock(); self && !self->stopped) self->answered(id, host, url, failure);
                 });
    co_return true;
  }

  void answered(const std::string& id, const std::string& host, const std::string& url, const std::string& failure) {
    --under_way;
    if (--of_host[host] == 0) of_host.erase(host);
    take_from_behind();
    if (failure.empty()) {
      ++counts.sent;
      forget(id);
    } else {
      try_again(id, url, failure);
    }
    pump();
  }

  void forget(const std::string& id) {
    tries.erase(id);
    write(RemoveHook{id});
  }

  void try_again(const std::string& id, const std::string& url, const std::string& failure) {
    ++counts.failed_tries;
    const int64_t tried = ++tries[id];
    const std::string about = "[webhook] " + shown_url(url) + " of job " + id + ": " + failure;
    if (tried >= options.most_tries) {
      report(about + "; it was tried " + std::to_string(tried) + " times and is given up");
      ++counts.given_up;
      return forget(id);
    }
    const milliseconds pause =
        std::min(options.longest_pause, options.first_pause * (int64_t(1) << std::min<int64_t>(tried - 1, 30)));
    if (tried == 1) report(about + "; it is tried again, " + std::to_string(options.most_tries) + " times in all");
    later.emplace(Clock::now() + pause, id);
    write(PutHook{id, tried, wall_now() + pause.count()});
  }

  /// The messages of an earlier process: asked for until the store answers.
  static Awaitable<std::vector<PutHook>> earlier(std::shared_ptr<State> state) {
    const std::function<std::vector<PutHook>(Store&)> question = [](Store& store) { return store.hooks(); };
    boost::asio::steady_timer pause(state->io);
    bool is_told = false;
    while (!state->stopped) {
      try {
        co_return co_await state->jobs.ask(question);
      } catch (const std::exception&) {
        if (!std::exchange(is_told, true))
          state->report("[webhook] those of an earlier process wait, since the store refuses");
      }
      pause.expires_after(state->options.first_pause);
      boost::system::error_code ignored;
      co_await pause.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
    }
    co_return std::vector<PutHook>();
  }

  void write(Change change) {
    boost::asio::co_spawn(
        io,
        [self = shared_from_this(), change = std::move(change)]() -> Awaitable<void> {
          try {
            std::vector<Change> changes(1, change);
            co_await self->jobs.write(std::move(changes));
          } catch (const std::exception& error) {
            self->report(std::string("[webhook] cannot be noted in the store: ") + error.what());
          }
        },
        boost::asio::detached);
  }
};

Webhooks::Webhooks(boost::asio::io_context& io, Jobs& jobs, WebhookOptions options,
                   std::function<std::string(const Job&)> body, std::function<void(const std::string&)> report)
    : state_(std::make_shared<State>(io, jobs, options, std::move(body), std::move(report))) {}

Webhooks::~Webhooks() {
  stop();
}

Awaitable<void> Webhooks::start() {
  const std::shared_ptr<State> state = state_;
  const std::vector<PutHook> hooks = co_await State::earlier(state);
  // A clock that was set back makes nobody wait for longer than the longest pause.
  for (const PutHook& hook : hooks)
    state->add(hook.job, hook.tries,
               std::clamp(milliseconds(hook.due - wall_now()), milliseconds(0), state->options.longest_pause));
}

void Webhooks::ended(const JobPtr& job) {
  if (!job->job.webhook.empty()) state_->add(job->job.id, 0, milliseconds(0));
}

void Webhooks::stop() {
  if (state_->stopped) return;
  state_->stopped = true;
  state_->timer.cancel();
  state_->sender.reset();
}

Webhooks::Counts Webhooks::counts() const {
  Counts counts = state_->counts;
  counts.waiting = state_->tries.size();
  return counts;
}

}  // namespace wan::serve
