// Jobs as the page shows them.
#include <memory>

#include "engine/serve/api/page.h"
#include "engine/serve/api/page_parts.h"
#include "engine/serve/queue/job_json.h"

namespace wan::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kJobsAtOnce = 24;

/// The sequence in "?before=": jobs that arrived earlier are wanted. Throws HttpError 422.
std::optional<int64_t> before_of(const Exchange& exchange) {
  const auto before = exchange.query().find("before");
  if (before == exchange.query().end()) return std::nullopt;
  const std::string& text = before->second;
  if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != text.npos)
    throw HttpError(json_answer(
        {{"detail", "[before] must be the number that an answer has as next"}, {"error_type", "bad_request"}}, 422));
  return std::stoll(text);
}

Awaitable<Answer> list_jobs(Exchange& exchange, ApiContext& context, std::shared_ptr<const Prices> prices) {
  const Caller caller = context.access.caller(exchange);
  JobFilter filter;
  filter.owner = caller.owner();
  filter.most = kJobsAtOnce + 1;
  filter.before = before_of(exchange);
  std::vector<Job> found = co_await context.jobs.list(filter);
  const bool older = int64_t(found.size()) > kJobsAtOnce;
  if (older) found.resize(kJobsAtOnce);
  const Json next = found.empty() ? Json(nullptr) : Json(found.back().sequence);
  Json jobs = Json::array();
  for (Job& job : found) {
    // One that is in memory knows more.
    JobPtr live;
    if (!is_ended(job.status)) live = co_await context.jobs.find(job.id, caller.owner());
    LiveJob stored;
    stored.job = std::move(job);
    jobs.push_back(page_job(live ? *live : stored, context.jobs, context.dispatcher, prices->get()));
  }
  co_return json_answer({{"jobs", jobs}, {"older", older}, {"next", next}});
}

Awaitable<Answer> remove_job(Exchange& exchange, ApiContext& context, std::string id) {
  const Caller caller = context.access.caller(exchange);
  if (!co_await context.jobs.remove(id, caller.owner()))
    throw HttpError(json_answer({{"detail", "Request not found, or not finished"}, {"error_type", "not_found"}}, 404));
  co_return no_content();
}

}  // namespace

Json page_job(const LiveJob& live, const Jobs& jobs, const Dispatcher& dispatcher, const Json& prices) {
  const Job& job = live.job;
  Json out = {{"id", job.id},
              {"task", job.fields.value("task", "")},
              {"endpoint", job.endpoint},
              {"status", status_name(job.status)},
              {"created", job.created},
              {"prompt", job.fields.value("prompt", "")},
              {"input", job.input}};
  if (!job.owner.empty()) out["owner"] = job.owner;
  if (job.fields.contains("seed")) out["seed"] = job.fields.at("seed");
  if (!is_ended(job.status)) {
    if (job.status == JobStatus::Queued) out["position"] = jobs.position(live);
    if (const auto forecast = dispatcher.forecast(live)) {
      out["begins_in"] = forecast->first;
      out["seconds_left"] = forecast->second;
    }
    const JobProgress& progress = live.progress;
    out.update(Json{{"stage", progress.stage},
                    {"step", progress.step},
                    {"steps", progress.steps},
                    {"cancelling", live.cancelling}});
    if (progress.seconds_left) out["seconds_left"] = *progress.seconds_left;
    if (progress.preview)
      out["preview"] = "/files/previews/" + job.preview_key + ".jpg?v=" + std::to_string(progress.preview);
  }
  if (job.output) {
    out["video"] = "/files/outputs/" + job.output->file;
    out["bytes"] = job.output->bytes;
    out["seed"] = job.output->seed;
    out["seconds"] = job.output->seconds;
    if (!job.output->safety.is_null()) out["safety"] = job.output->safety;
  }
  if (const std::optional<double> cost = hosted_cost(job, prices)) out["hosted"] = *cost;
  if (job.error) out["error"] = job.error->text();
  return out;
}

void add_page_job_routes(Router& router, ApiContext& context, std::shared_ptr<const Prices> prices) {
  router.add("GET", "/page/jobs",
             [&context, prices](Exchange& exchange, const Captures&) { return list_jobs(exchange, context, prices); });
  router.add("DELETE", "/page/jobs/{id}", [&context](Exchange& exchange, const Captures& captures) {
    return remove_job(exchange, context, captures.at("id"));
  });
  router.add("GET", "/page/events", [&context, prices](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    const Caller caller = context.access.caller(exchange);
    Answer answer{.type = "text/event-stream"};
    answer.events = [&context, caller, prices](EventStream& events) {
      return tell_page(events, context, caller, prices);
    };
    co_return answer;
  });
}

}  // namespace wan::serve
