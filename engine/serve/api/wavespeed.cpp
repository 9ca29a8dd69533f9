// WaveSpeed's endpoint: submit, and status with result.
#include "engine/serve/api/wavespeed_answers.h"

#include <chrono>

#include "engine/serve/api/answers.h"
#include "engine/serve/api/context.h"
#include "engine/serve/api/submit.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

// What proxies and clients bear; the task goes on, and its result can be asked for.
constexpr std::chrono::minutes kLongestSync{10};

Answer task_answer(ordered_json data) {
  return json_answer({{"code", 200}, {"message", "success"}, {"data", std::move(data)}});
}

Awaitable<Answer> submit(ApiContext& context, Exchange& exchange, const Endpoint& endpoint) {
  Submission submission;
  submission.webhook_field = kWaveSpeedWebhookField;
  if (const auto hook = exchange.query().find(kWaveSpeedWebhook); hook != exchange.query().end())
    submission.webhook = hook->second;
  const Submitted submitted = co_await submit_job(context, exchange, endpoint, submission);
  const JobPtr job = submitted.job;
  if (!submitted.wants_end) co_return task_answer(wavespeed_task(job->job, exchange.base_url()));
  co_await wait_for_end(context.jobs, job, kLongestSync);
  ordered_json data = wavespeed_task(job->job, exchange.base_url());
  if (!is_ended(job->job.status)) {
    data["status"] = "processing";
    data["code"] = 5004;
    data["error"] = "Sync mode timed out after " + std::to_string(std::chrono::seconds(kLongestSync).count()) +
                    " seconds; the task goes on";
  }
  co_return task_answer(std::move(data));
}

Awaitable<Answer> result(ApiContext& context, Exchange& exchange, std::string id) {
  const std::optional<std::string> owner = context.access.caller(exchange, Access::Form::WaveSpeed).owner();
  const JobPtr job = co_await context.jobs.find(id, owner);
  const bool known = job && !job->job.hidden && job->job.endpoint.starts_with("wavespeed-ai/");
  if (!known) co_return refusal(Access::Form::WaveSpeed, 404, "not_found", "prediction not found");
  co_return task_answer(wavespeed_task(job->job, exchange.base_url()));
}

}  // namespace

void add_wavespeed_routes(Router& router, ApiContext& context) {
  for (const char* path : {"/api/v3/predictions/{id}/result", "/api/v3/predictions/{id}"})
    router.add("GET", path,
               [&context](Exchange& at, const Captures& names) { return result(context, at, names.at("id")); });
  for (const Endpoint& endpoint : endpoints())
    if (endpoint.vendor == Vendor::WaveSpeed)
      router.add("POST", "/api/v3/" + endpoint.path,
                 [&context, &endpoint](Exchange& at, const Captures&) { return submit(context, at, endpoint); });
}

}  // namespace wan::serve
