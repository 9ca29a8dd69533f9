// The fal endpoints: sync runs, and the queue with status, stream, result and cancel.
#include <charconv>
#include <chrono>
#include <cmath>
#include <memory>

#include "engine/serve/api/answers.h"
#include "engine/serve/api/context.h"
#include "engine/serve/api/fal_answers.h"
#include "engine/serve/api/submit.h"
#include "engine/serve/net/answer.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

constexpr std::chrono::seconds kBeat{15};  // between comments of a stream in which nothing happens

bool is_set(const Exchange& exchange, const char* name) {
  const auto found = exchange.query().find(name);
  return found != exchange.query().end() &&
         (found->second == "1" || found->second == "true" || found->second == "True");
}

/// What a submit says in headers and query. Throws HttpError 400 where that cannot be obeyed.
Submission submission_of(const Exchange& exchange) {
  Submission submission;
  if (const auto priority = exchange.header("X-Fal-Queue-Priority")) {
    if (*priority == "low")
      submission.priority = Priority::Low;
    else if (*priority != "normal")
      throw HttpError(error_answer(400, "X-Fal-Queue-Priority must be normal or low", "bad_request"));
  }
  if (const auto timeout = exchange.header("X-Fal-Request-Timeout")) {
    double seconds = 0;
    const auto [end, error] = std::from_chars(timeout->data(), timeout->data() + timeout->size(), seconds);
    const bool good = error == std::errc() && end == timeout->data() + timeout->size() && seconds > 0;
    if (!good || seconds > 1e8)
      throw HttpError(error_answer(400, "X-Fal-Request-Timeout must be a number of seconds above 0", "bad_request"));
    submission.start_within = seconds;
  }
  if (const auto hook = exchange.query().find(kFalWebhook); hook != exchange.query().end())
    submission.webhook = hook->second;
  return submission;
}

Awaitable<Answer> submit(ApiContext& context, Exchange& exchange, const Endpoint& endpoint) {
  const Submission submission = submission_of(exchange);
  const Submitted submitted = co_await submit_job(context, exchange, endpoint, submission);
  const LiveJob& job = *submitted.job;
  co_return json_answer(submitted_json(job, context.jobs.position(job), request_url(exchange, job.job.id)), 200,
                        {{"x-fal-request-id", job.job.id}});
}

Awaitable<Answer> run(ApiContext& context, Exchange& exchange, const Endpoint& endpoint) {
  Submission submission = submission_of(exchange);
  submission.awaited = true;
  const Submitted submitted = co_await submit_job(context, exchange, endpoint, submission);
  const JobPtr job = submitted.job;
  co_await wait_for_run(context, exchange, job, Access::Form::Fal);
  co_return run_answer(job->job, exchange.base_url());
}

/// The caller's job, whichever endpoint it was sent to: status, result and cancel are for WaveSpeed's tasks, too. Throws
/// HttpError 404.
Awaitable<JobPtr> find(ApiContext& context, Exchange& exchange, const std::string& id) {
  const std::optional<std::string> owner = context.access.caller(exchange).owner();
  JobPtr job = co_await context.jobs.find(id, owner);
  if (!job || job->job.hidden) throw HttpError(error_answer(404, "Request not found", "not_found"));
  co_return job;
}

Awaitable<Answer> status(ApiContext& context, Exchange& exchange, std::string id) {
  const JobPtr job = co_await find(context, exchange, id);
  const bool wants_logs = is_set(exchange, "logs");
  if (wants_logs && is_ended(job->job.status)) co_await context.jobs.read_logs(job);
  const int64_t position = job->job.status == JobStatus::Queued ? context.jobs.position(*job) : 0;
  const ordered_json body = status_json(*job, position, request_url(exchange, job->job.id), exchange.base_url(),
                                        wants_logs ? logs_json(*job) : ordered_json(nullptr));
  co_return json_answer(body, is_ended(job->job.status) ? 200 : 202);
}

/// What a stream needs of its request, which ends before it.
struct Watch {
  JobPtr job;
  std::string url, base_url;
  bool wants_logs = false;
};

Awaitable<void> send_statuses(Jobs& jobs, std::shared_ptr<const Watch> watch, EventStream& stream) {
  const LiveJob& job = *watch->job;
  size_t told = 0;  // entries of the log
  std::string last;
  for (;;) {
    if (watch->wants_logs && is_ended(job.job.status)) co_await jobs.read_logs(watch->job);
    const uint64_t version = job.version;
    const bool ended = is_ended(job.job.status);
    const int64_t position = job.job.status == JobStatus::Queued ? jobs.position(job) : 0;
    ordered_json logs = nullptr;
    if (watch->wants_logs) {
      logs = logs_json(job, told);
      // A status in the queue has no log: its entries come with the next one.
      if (job.job.status != JobStatus::Queued) told = job.logs.size();
    }
    std::string text = status_json(job, position, watch->url, watch->base_url, logs)
                           .dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    bool there = true;
    if (text != last)
      there = co_await stream.send(text);
    else
      there = co_await stream.comment();
    if (ended || !there) co_return;
    last = std::move(text);
    if (job.version == version) co_await jobs.changed(watch->job, version, kBeat);
  }
}

Awaitable<Answer> stream_status(ApiContext& context, Exchange& exchange, std::string id) {
  const JobPtr job = co_await find(context, exchange, id);
  const auto watch = std::make_shared<const Watch>(
      Watch{job, request_url(exchange, job->job.id), exchange.base_url(), is_set(exchange, "logs")});
  Answer answer{.type = "text/event-stream", .headers = {{"Cache-Control", "no-cache"}}};
  answer.events = [&jobs = context.jobs, watch](EventStream& stream) { return send_statuses(jobs, watch, stream); };
  co_return answer;
}

Awaitable<Answer> result(ApiContext& context, Exchange& exchange, std::string id) {
  const JobPtr job = co_await find(context, exchange, id);
  if (!is_ended(job->job.status)) co_return error_answer(400, "Request is still in progress", "bad_request");
  co_return result_answer(job->job, exchange.base_url());
}

Awaitable<Answer> cancel(ApiContext& context, Exchange& exchange, std::string id) {
  const std::optional<std::string> owner = context.access.caller(exchange).owner();
  const JobPtr job = co_await context.jobs.find(id, owner);
  CancelAnswer answer = CancelAnswer::NotFound;
  if (job && !job->job.hidden) answer = co_await context.jobs.cancel(id, owner);
  switch (answer) {
    case CancelAnswer::Requested:
      co_return json_answer({{"status", "CANCELLATION_REQUESTED"}}, 202);
    case CancelAnswer::AlreadyEnded:  // 409 would be sent again and again
      co_return json_answer({{"status", "ALREADY_COMPLETED"}}, 400);
    case CancelAnswer::NotFound:
      break;
  }
  co_return json_answer({{"status", "NOT_FOUND"}}, 404);
}

/// The calls about a request below "PREFIX/requests/".
void add_request_routes(Router& router, ApiContext& context, const std::string& prefix) {
  const std::string request = prefix + "/requests/{id}";
  router.add("GET", request + "/status",
             [&context](Exchange& at, const Captures& names) { return status(context, at, names.at("id")); });
  router.add("GET", request,
             [&context](Exchange& at, const Captures& names) { return result(context, at, names.at("id")); });
  router.add("PUT", request + "/cancel",
             [&context](Exchange& at, const Captures& names) { return cancel(context, at, names.at("id")); });
  router.add("GET", request + "/status/stream",
             [&context](Exchange& at, const Captures& names) { return stream_status(context, at, names.at("id")); });
}

}  // namespace

void add_fal_routes(Router& router, ApiContext& context) {
  // In the order in which they are called most: polling first.
  for (const char* queue : {"/queue/", "/"}) {
    add_request_routes(router, context, std::string(queue) + kFalApp);
    for (const Endpoint& endpoint : endpoints())
      if (endpoint.vendor == Vendor::Fal) add_request_routes(router, context, queue + endpoint.path);
  }
  for (const Endpoint& endpoint : endpoints()) {
    if (endpoint.vendor != Vendor::Fal) continue;
    router.add("POST", "/queue/" + endpoint.path,
               [&context, &endpoint](Exchange& at, const Captures&) { return submit(context, at, endpoint); });
    router.add("POST", "/" + endpoint.path, [&context, &endpoint](Exchange& at, const Captures&) {
      return is_queue_host(at) ? submit(context, at, endpoint) : run(context, at, endpoint);
    });
  }
}

}  // namespace wan::serve
