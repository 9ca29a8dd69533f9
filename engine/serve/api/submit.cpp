#include "engine/serve/api/submit.h"

#include <algorithm>
#include <chrono>

#include "engine/serve/api/answers.h"
#include "engine/serve/api/hook_sender.h"
#include "engine/serve/api/inputs.h"
#include "engine/serve/api/job_fields.h"
#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/job_json.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

using nlohmann::json;

constexpr uint64_t kMostText = 4 << 20;    // bytes of a body beside the files in it
constexpr uint64_t kShortBody = 64 << 10;  // bytes

/// What a body may have: its files in base64, and some text.
uint64_t most_body(const Settings& settings) {
  return settings.most_file_bytes / 3 * 4 + kMostText;
}

/// Throws HttpError where the caller's key allows no more jobs, or no more seconds of video today.
Awaitable<void> check_quota(ApiContext& context, Access::Form form, const Caller& caller, double seconds) {
  if (caller.quota.queued_jobs > 0) {
    const std::vector<JobPtr> open = context.jobs.unfinished();
    const auto own =
        std::count_if(open.begin(), open.end(), [&](const JobPtr& job) { return job->job.owner == caller.name; });
    if (own >= caller.quota.queued_jobs)
      throw HttpError(refusal(form, 429, "bad_request",
                              "Your key may have " + std::to_string(caller.quota.queued_jobs) +
                                  " jobs in the queue; wait until one has ended",
                              {{"Retry-After", "10"}}));
  }
  if (caller.quota.video_seconds <= 0) co_return;
  constexpr int64_t kDay = 24 * 3600 * 1000;
  const std::function<double(Store&)> question = [owner = caller.name, since = now_ms() - kDay](Store& store) {
    return store.video_seconds_since(owner, since);
  };
  const double used = co_await context.jobs.ask(question);
  if (used + seconds > caller.quota.video_seconds)
    throw HttpError(refusal(form, 403, "bad_request",
                            "Your key may ask for " + number_text(caller.quota.video_seconds) +
                                " seconds of video within 24 hours, has asked for " + number_text(used) +
                                ", and this request has " + number_text(seconds)));
}

/// What was sent for the endpoint's fields, but for own inputs: nothing that is ignored is kept.
json known_part(const Endpoint& endpoint, const json& body, const OwnInputs& inputs) {
  json input = json::object();
  for (const EndpointField& field : endpoint.fields)
    if (const auto sent = body.find(field.name); sent != body.end() && !inputs.contains(field.name))
      input[field.name] = *sent;
  return input;
}

}  // namespace

void check_webhook(const std::string& url, Access::Form form) {
  if (url.empty()) return;
  if (url.size() > 2048 || !wrong_webhook(url).empty())
    throw HttpError(refusal(form, 400, "bad_request", "The webhook must be an http(s) URL of at most 2048 bytes"));
}

Awaitable<Submitted> submit_job(ApiContext& context, Exchange& exchange, const Endpoint& endpoint,
                                const Submission& submission) {
  const Access::Form form = form_of(endpoint.vendor);
  const Caller caller = context.access.caller(exchange, form);
  check_webhook(submission.webhook, form);
  if (model_for(endpoint.task, context.settings).empty())
    throw HttpError(refusal(form, 404, "not_found",
                            std::string("This server has no model for ") + task_name(endpoint.task) +
                                "; its operator gives one with --model " + task_name(endpoint.task) + "=DIR"));
  ErrorList errors = ErrorList::array();
  json body = co_await read_any(exchange, context.files.pool(), form, most_body(context.settings), errors);
  json values = json::object();
  // A body with files in it is copied for more than a moment.
  const bool is_long = exchange.content_length().value_or(UINT64_MAX) > kShortBody;
  if (errors.empty() && is_long)
    values = co_await context.files.pool().run([&] { return check_body(endpoint, body, errors); });
  else if (errors.empty())
    values = check_body(endpoint, body, errors);
  const bool wants_end = values.value("enable_sync_mode", false);
  const OwnInputs inputs = co_await find_inputs(context, exchange, endpoint, caller, values, errors);
  JobFields made = job_fields(endpoint, values, context.settings, errors);
  if (!errors.empty()) throw HttpError(bad_fields(endpoint, errors));

  Job job;
  job.id = new_uuid();
  job.owner = caller.name;
  job.endpoint = endpoint.path;
  job.priority = submission.priority;
  job.preview_key = random_hex(16);
  job.created = now_ms();
  if (submission.start_within) job.start_before = job.created + int64_t(*submission.start_within * 1000);
  job.webhook = submission.webhook;
  // Its URLs must lead where the client found this server, and the client is gone when the message is made.
  if (!job.webhook.empty())
    job.webhook_form = (endpoint.vendor == Vendor::Fal ? "fal " : "wavespeed ") + exchange.base_url();
  job.fields = std::move(made.fields);
  const double seconds = video_seconds(job);
  co_await check_quota(context, form, caller, seconds);
  json input = known_part(endpoint, body, inputs);
  co_await keep_inputs(context, endpoint, caller, inputs, body, job.fields, input, errors);
  if (!errors.empty()) throw HttpError(bad_fields(endpoint, errors));
  job.input = std::move(input);
  // Not within the braces of an aggregate: GCC 12 destroys its members twice then.
  const JobPtr kept = co_await context.jobs.submit(std::move(job));
  for (const std::string& note : made.notes) context.jobs.log(kept, "INFO", note);
  co_return Submitted{kept, wants_end};
}

Awaitable<void> wait_for_end(Jobs& jobs, const JobPtr& job, std::chrono::milliseconds most) {
  const auto end = std::chrono::steady_clock::now() + most;
  while (!is_ended(job->job.status)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) co_return;
    co_await jobs.changed(job, job->version, left);
  }
}

}  // namespace wan::serve
