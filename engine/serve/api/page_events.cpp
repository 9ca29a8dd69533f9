// What an open page is told of without asking.
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>

#include "engine/serve/api/page.h"
#include "engine/serve/api/page_parts.h"

namespace wan::serve {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int kRoundsOfPositions = 4;  // rounds of half a second between two looks at those that wait
constexpr int kRoundsOfComments = 30;  // without a word
constexpr double kLeastMove = 10;      // seconds by which a begin must have moved, or a tenth of what is left

/// What the page knows of a job.
struct Told {
  uint64_t version = 0;
  int64_t position = 0;
  std::optional<double> begins_in;  // seconds, at the time `at`
  Clock::time_point at{};
};

Told known_of(const LiveJob& job, const ApiContext& context) {
  Told told{.version = job.version, .position = 0, .begins_in = {}, .at = Clock::now()};
  if (job.job.status != JobStatus::Queued) return told;
  told.position = context.jobs.position(job);
  if (const auto forecast = context.dispatcher.forecast(job)) told.begins_in = forecast->first;
  return told;
}

/// Whether the page shows something else than what is so. It counts the seconds to the begin down itself.
bool is_news(const Told& told, const Told& now) {
  if (told.version != now.version || told.position != now.position) return true;
  if (told.begins_in.has_value() != now.begins_in.has_value()) return true;
  if (!now.begins_in) return false;
  const double shown = std::max(0.0, *told.begins_in - std::chrono::duration<double>(now.at - told.at).count());
  return std::abs(*now.begins_in - shown) > std::max(kLeastMove, *now.begins_in / 10);
}

/// Of a job that is no longer among the open ones: how it ended, or that it is gone.
std::string told_of_ended(const std::string& id, const JobPtr& job, const ApiContext& context, const Prices& prices) {
  return (job ? page_job(*job, context.jobs, context.dispatcher, prices.get()) : Json{{"id", id}}).dump();
}

}  // namespace

Awaitable<void> tell_page(EventStream& events, ApiContext& context, Caller caller,
                          std::shared_ptr<const Prices> prices) {
  const std::optional<std::string> owner = caller.owner(), key = context.access.key_hash(caller.name);
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  std::map<std::string, Told> told;
  Json workers;
  int quiet = 0;
  for (int round = 0; context.access.key_hash(caller.name) == key; round = (round + 1) % kRoundsOfPositions) {
    std::map<std::string, Told> open;
    bool sent = false;
    for (const JobPtr& job : context.jobs.unfinished()) {
      if (owner && job->job.owner != *owner) continue;
      const auto before = told.find(job->job.id);
      // Another job's end moves the position of those that wait.
      const bool may_have_moved = round == 0 && job->job.status == JobStatus::Queued;
      if (before != told.end() && before->second.version == job->version && !may_have_moved) {
        open.insert(*before);
        continue;
      }
      const Told now = known_of(*job, context);
      if (before != told.end() && !is_news(before->second, now)) {
        open.insert(*before);
        continue;
      }
      open[job->job.id] = now;
      sent = true;
      std::string text = page_job(*job, context.jobs, context.dispatcher, prices->get()).dump();
      if (!co_await events.send(std::move(text), "job")) co_return;
    }
    for (const auto& [id, known] : told) {
      if (open.count(id)) continue;
      const JobPtr job = co_await context.jobs.find(id, owner);
      sent = true;
      std::string text = told_of_ended(id, job, context, *prices);
      if (!co_await events.send(std::move(text), job ? "job" : "removed")) co_return;
    }
    told = std::move(open);
    if (Json now = page_workers(context.dispatcher, !owner); now != workers) {
      workers = std::move(now);
      sent = true;
      if (!co_await events.send(workers.dump(), "workers")) co_return;
    }
    quiet = sent ? 0 : quiet + 1;
    if (quiet % kRoundsOfComments == kRoundsOfComments - 1 && !co_await events.comment()) co_return;
    timer.expires_after(500ms);
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
}

}  // namespace wan::serve
