#include "engine/serve/api/submit.h"

#include "engine/serve/net/asio.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <iterator>
#include <utility>

#include "engine/base/text.h"
#include "engine/serve/api/answers.h"
#include "engine/serve/api/hook_sender.h"
#include "engine/serve/api/inputs.h"
#include "engine/serve/api/job_fields.h"
#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/job_json.h"
#include "engine/serve/queue/times.h"
#include "models/files/error.h"

namespace wan::serve {
namespace {

namespace asio = boost::asio;
using nlohmann::json;

constexpr uint64_t kMostText = 4 << 20;          // bytes of a body beside the files in it
constexpr uint64_t kShortBody = 64 << 10;        // bytes
constexpr std::chrono::milliseconds kLook{500};  // between looks whether the server ends

Access::Form refusal_form(const Endpoint& endpoint, const Submission& submission) {
  return submission.form.value_or(form_of(endpoint.vendor));
}

void check_model(const Endpoint& endpoint, const Settings& settings, Access::Form form) {
  if (!model_for(endpoint.task, settings).empty()) return;
  throw HttpError(refusal(form, 404, "not_found",
                          std::string("This server has no model for ") + task_name(endpoint.task) +
                              "; its operator gives one with --model " + task_name(endpoint.task) + "=DIR"));
}

/// The answer to wrong fields, by the names that the client has for them.
Answer refused_fields(const Endpoint& endpoint, const Submission& submission, ErrorList errors) {
  if (!submission.form) return bad_fields(endpoint, std::move(errors));
  for (ErrorList& entry : errors) {
    ErrorList& loc = entry.at("loc");
    if (loc.size() < 2 || !loc[1].is_string()) continue;
    const auto called = submission.names.find(loc[1].get<std::string>());
    if (called != submission.names.end()) loc[1] = called->second;
  }
  return bad_fields(*submission.form, errors);
}

Awaitable<void> cancel_for_all(Jobs& jobs, std::string id) {
  const std::optional<std::string> everybody;
  co_await jobs.cancel(id, everybody);
}

/// The webhook of a request: of its URL, else of its body. What is wrong with the field is added to `errors`.
std::string webhook_of(const Submission& submission, const json& body, ErrorList& errors) {
  if (!submission.webhook.empty() || submission.webhook_field.empty() || !body.is_object()) return submission.webhook;
  const auto sent = body.find(submission.webhook_field);
  if (sent == body.end() || sent->is_null()) return "";
  if (sent->is_string()) return sent->get<std::string>();
  add_error(errors, submission.webhook_field, "string_type", "Input should be a valid string", *sent);
  return "";
}

/// What was sent for the endpoint's fields, but for own inputs: nothing that is ignored is kept.
json known_part(const Endpoint& endpoint, const json& body, const OwnInputs& inputs) {
  json input = json::object();
  for (const EndpointField& field : endpoint.fields)
    if (const auto sent = body.find(field.name); sent != body.end() && !inputs.contains(field.name))
      input[field.name] = *sent;
  return input;
}

/// Lines of the job's log about what was sent and is no field of the endpoint. What the vendors' clients may send to any
/// endpoint is not told.
std::vector<std::string> unknown_notes(const Endpoint& endpoint, const json& body, const std::string& webhook_field) {
  constexpr size_t kMost = 20;
  constexpr const char* kOfAll[] = {"sync_mode", "enable_base64_output"};
  std::vector<std::string> fields, notes;
  for (const EndpointField& field : endpoint.fields) fields.push_back(field.name);
  for (auto sent = body.begin(); sent != body.end() && notes.size() < kMost; ++sent) {
    const std::string& name = sent.key();
    const bool is_of_all = std::find(std::begin(kOfAll), std::end(kOfAll), name) != std::end(kOfAll);
    if (endpoint.field(name) || name == webhook_field || is_of_all) continue;
    notes.push_back(shown_text(name, 100) + " is no field of this endpoint: left out" +
                    nearest_text(name.substr(0, 100), fields));
  }
  return notes;
}

}  // namespace

void check_webhook(const std::string& url, Access::Form form) {
  if (url.empty()) return;
  if (url.size() > 2048 || !wrong_webhook(url).empty())
    throw HttpError(refusal(form, 400, "bad_request", "The webhook must be an http(s) URL of at most 2048 bytes"));
}

uint64_t most_body(const Settings& settings) {
  return settings.most_file_bytes / 3 * 4 + kMostText;
}

Awaitable<Submitted> submit_job(ApiContext& context, Exchange& exchange, const Endpoint& endpoint,
                                const Submission& submission) {
  const Access::Form form = refusal_form(endpoint, submission);
  const Caller caller = context.access.caller(exchange, form);
  check_webhook(submission.webhook, form);
  check_model(endpoint, context.settings, form);
  ErrorList errors = ErrorList::array();
  BodyBudget::Share share(context.bodies);
  const json body =
      co_await read_any(exchange, context.files.slow_pool(), form, most_body(context.settings), errors, &share);
  co_return co_await submit_body(context, exchange, endpoint, caller, submission, body, errors);
}

Awaitable<Submitted> submit_body(ApiContext& context, Exchange& exchange, const Endpoint& endpoint,
                                 const Caller& caller, const Submission& submission, const json& body,
                                 ErrorList& errors) {
  const Access::Form form = refusal_form(endpoint, submission);
  check_model(endpoint, context.settings, form);
  const std::string webhook = webhook_of(submission, body, errors);
  check_webhook(webhook, form);
  json values = json::object();
  // A body with files in it is copied for more than a moment.
  const bool is_long = exchange.content_length().value_or(UINT64_MAX) > kShortBody;
  const bool is_checked = errors.empty() || body.is_object();
  if (is_checked && is_long)
    values = co_await context.files.slow_pool().run([&] { return check_body(endpoint, body, errors); });
  else if (is_checked)
    values = check_body(endpoint, body, errors);
  const bool wants_end = values.value("enable_sync_mode", false);
  const OwnInputs inputs = co_await find_inputs(context, exchange, endpoint, caller, values, errors);
  JobFields made = job_fields(endpoint, values, context.settings, errors);
  if (!errors.empty()) throw HttpError(refused_fields(endpoint, submission, errors));
  for (std::string& note : unknown_notes(endpoint, body, submission.webhook_field))
    made.notes.push_back(std::move(note));

  Job job;
  job.id = new_uuid();
  job.owner = caller.name;
  job.endpoint = endpoint.path;
  job.priority = submission.priority;
  job.preview_key = random_hex(16);
  job.created = now_ms();
  if (submission.start_within) job.start_before = job.created + int64_t(*submission.start_within * 1000);
  job.awaited = submission.awaited;
  job.webhook = webhook;
  // Its URLs must lead where the client found this server, and the client is gone when the message is made.
  if (!job.webhook.empty())
    job.webhook_form = (endpoint.vendor == Vendor::Fal ? "fal " : "wavespeed ") + exchange.base_url();
  job.fields = std::move(made.fields);
  const double seconds = video_seconds(job);
  // Until the job is in the queue.
  const JobQuotas::Place place = co_await context.quotas.take(context.jobs, form, caller, job.id, seconds);
  json input = known_part(endpoint, body, inputs);
  co_await keep_inputs(context, endpoint, caller, inputs, body, job.fields, input, errors);
  if (!errors.empty()) throw HttpError(refused_fields(endpoint, submission, errors));
  job.input = std::move(input);
  job.input.update(submission.beside);
  // Not within the braces of an aggregate: GCC 12 destroys its members twice then.
  const JobPtr kept = co_await context.jobs.submit(std::move(job));
  for (const std::string& note : submission.notes) context.jobs.log(kept, "INFO", note);
  for (const std::string& note : made.notes) context.jobs.log(kept, "INFO", note);
  co_return Submitted{kept, wants_end};
}

Awaitable<void> wait_for_run(ApiContext& context, Exchange& exchange, JobPtr job, Access::Form form) {
  const auto executor = co_await asio::this_coro::executor;
  // Whoever has left waits for nothing.
  asio::co_spawn(executor, exchange.gone(),
                 [&jobs = context.jobs, executor, id = job->job.id](const std::exception_ptr& stayed) {
                   if (!stayed) asio::co_spawn(executor, cancel_for_all(jobs, id), asio::detached);
                 });
  while (!is_ended(job->job.status) && !context.ends) co_await wait_for_end(context.jobs, job, kLook);
  if (is_ended(job->job.status)) co_return;
  // Nobody else knows of the job.
  co_await cancel_for_all(context.jobs, job->job.id);
  throw HttpError(refusal(form, 503, "runner_disconnected", "The server is ending; send the request again",
                          {{"Retry-After", "10"}}));
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
