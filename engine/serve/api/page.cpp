#include "engine/serve/api/page.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <map>
#include <memory>

#include "engine/base/error.h"
#include "engine/request/version.h"
#include "models/files/atomic_file.h"
#include "models/files/json.h"
#include "models/files/mapped_file.h"

namespace wan::serve {
namespace {

using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr int64_t kJobsAtOnce = 24;
constexpr uint64_t kMostBody = 64 << 10;
/// The page and its files load nothing from elsewhere, and stand in no other page.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
    "connect-src "
    "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const std::pair<const char*, const char*> kEndpoints[] = {{"t2v", "fal-ai/wan/v2.2-a14b/text-to-video"},
                                                          {"i2v", "fal-ai/wan/v2.2-a14b/image-to-video"},
                                                          {"v2v", "fal-ai/wan/v2.2-a14b/video-to-video"},
                                                          {"s2v", "fal-ai/wan/v2.2-14b/speech-to-video"}};

const char* status_name(JobStatus status) {
  switch (status) {
    case JobStatus::Queued:
      return "queued";
    case JobStatus::Running:
      return "running";
    case JobStatus::Done:
      return "done";
    case JobStatus::Failed:
      return "failed";
    case JobStatus::Cancelled:
      return "cancelled";
  }
  return "failed";
}

const char* state_name(const WorkerState& worker) {
  switch (worker.state) {
    case WorkerState::Starting:
      return "starting";
    case WorkerState::Idle:
      return "idle";
    case WorkerState::Working:
      return "working";
    case WorkerState::Waiting:
      return "waiting to start again";
    case WorkerState::Broken:
      return "not working";
  }
  return "";
}

Answer page_answer(std::string_view name, const char* type) {
  Answer answer;
  answer.body = std::string(page_file(name));
  answer.type = type;
  answer.headers = {{"Content-Security-Policy", kPolicy},
                    {"Referrer-Policy", "no-referrer"},
                    {"X-Frame-Options", "DENY"},
                    {"Cache-Control", "no-cache"}};
  return answer;
}

Answer no_content() {
  Answer answer;
  answer.status = 204;
  return answer;
}

Awaitable<nlohmann::json> body_of(Exchange& exchange) {
  const std::string body = co_await exchange.read_body(kMostBody);
  try {
    co_return parse_json(body);
  } catch (const std::exception&) {
    throw HttpError(json_answer({{"detail", "the body is no JSON"}, {"error_type", "bad_request"}}, 422));
  }
}

Json workers_of(const Dispatcher& dispatcher) {
  Json workers = Json::array();
  for (const WorkerState& worker : dispatcher.workers())
    workers.push_back(
        {{"device", worker.device}, {"name", worker.name}, {"state", state_name(worker)}, {"trouble", worker.trouble}});
  return {{"workers", workers}, {"paused", dispatcher.paused()}};
}

/// Prices that the operator keeps in the data folder, else those of the hosted pages.
class Prices {
 public:
  explicit Prices(std::filesystem::path file) : file_(std::move(file)) {
    prices_ = hosted_prices();
    std::error_code absent;
    if (!std::filesystem::exists(file_, absent)) return;
    try {
      prices_ = checked_prices(read_json(*MappedFile::open(file_)));
    } catch (const std::exception&) {
      // A file that somebody damaged: the hosted prices, until others are kept.
    }
  }
  const Json& get() const { return prices_; }
  void keep(Json prices) {
    const std::string text = prices.dump(2) + "\n";
    AtomicFile file(file_.string());
    file.write(text.data(), text.size());
    file.commit();
    prices_ = std::move(prices);
  }

 private:
  std::filesystem::path file_;
  Json prices_;
};

/// Of a job that is no longer among the open ones: how it ended, or that it is gone.
std::string told_of_ended(const std::string& id, const JobPtr& job, ApiContext& context) {
  return (job ? page_job(*job, context.jobs, context.dispatcher) : Json{{"id", id}}).dump();
}

/// Tells one page of what changes, until it has gone: twice a second is soon enough for people.
Awaitable<void> tell(EventStream& events, ApiContext& context, std::optional<std::string> owner) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  std::map<std::string, uint64_t> told;
  Json workers;
  int quiet = 0;
  for (;;) {
    std::map<std::string, uint64_t> open;
    bool sent = false;
    for (const JobPtr& job : context.jobs.unfinished()) {
      if (owner && job->job.owner != *owner) continue;
      open[job->job.id] = job->version;
      const auto before = told.find(job->job.id);
      // Another job's end moves the position of those that wait.
      if (before != told.end() && before->second == job->version && job->job.status != JobStatus::Queued) continue;
      if (before != told.end() && before->second == job->version && quiet % 4 != 0) continue;
      sent = true;
      std::string text = page_job(*job, context.jobs, context.dispatcher).dump();
      if (!co_await events.send(std::move(text), "job")) co_return;
    }
    for (const auto& [id, version] : told) {
      if (open.count(id)) continue;
      const JobPtr job = co_await context.jobs.find(id, owner);
      sent = true;
      std::string text = told_of_ended(id, job, context);
      if (!co_await events.send(std::move(text), job ? "job" : "removed")) co_return;
    }
    told = std::move(open);
    if (Json now = workers_of(context.dispatcher); now != workers) {
      workers = std::move(now);
      if (!co_await events.send(workers.dump(), "workers")) co_return;
    }
    quiet = sent ? 0 : quiet + 1;
    if (quiet % 30 == 29 && !co_await events.comment()) co_return;
    timer.expires_after(500ms);
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
}

Awaitable<Answer> list_jobs(Exchange& exchange, ApiContext& context) {
  const Caller caller = context.access.caller(exchange);
  JobFilter filter;
  filter.owner = caller.owner();
  filter.most = kJobsAtOnce + 1;
  if (const auto before = exchange.query().find("before"); before != exchange.query().end()) {
    const std::string& text = before->second;
    if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != text.npos)
      throw HttpError(
          json_answer({{"detail", "[before] must be a time in ms since 1970"}, {"error_type", "bad_request"}}, 422));
    filter.before = std::stoll(text);
  }
  std::vector<Job> found = co_await context.jobs.list(filter);
  const bool older = int64_t(found.size()) > kJobsAtOnce;
  if (older) found.resize(kJobsAtOnce);
  Json jobs = Json::array();
  for (Job& job : found) {
    // One that is in memory knows more.
    JobPtr live;
    if (!is_ended(job.status)) live = co_await context.jobs.find(job.id, caller.owner());
    LiveJob stored;
    stored.job = std::move(job);
    jobs.push_back(page_job(live ? *live : stored, context.jobs, context.dispatcher));
  }
  co_return json_answer({{"jobs", jobs}, {"older", older}});
}

Awaitable<Answer> savings(Exchange& exchange, ApiContext& context, const Json& prices) {
  const Caller caller = context.access.caller(exchange);
  int64_t videos = 0, unknown = 0;
  double dollars = 0;
  JobFilter filter;
  filter.owner = caller.owner();
  filter.ended = true;
  filter.most = 500;
  for (;;) {
    const std::vector<Job> found = co_await context.jobs.list(filter);
    for (const Job& job : found) {
      if (job.status != JobStatus::Done) continue;
      ++videos;
      const std::optional<double> cost = hosted_cost(job, prices);
      if (cost) dollars += *cost;
      unknown += !cost;
    }
    if (int64_t(found.size()) < filter.most) break;
    filter.before = found.back().created;
  }
  co_return json_answer({{"videos", videos}, {"dollars", dollars}, {"unknown", unknown}});
}

Awaitable<Answer> set_up(Exchange& exchange, ApiContext& context) {
  context.access.caller(exchange);
  Json endpoints = Json::object(), tasks = Json::array();
  for (const auto& [task, endpoint] : kEndpoints) {
    endpoints[task] = endpoint;
    const std::string model = std::string(task) == "v2v" && !context.settings.models.count("v2v") ? "t2v" : task;
    if (context.settings.models.count(model)) tasks.push_back(task);
  }
  Json answer = workers_of(context.dispatcher);
  answer.update(Json{{"version", version()},
                     {"size_override", context.settings.size_override},
                     {"endpoints", endpoints},
                     {"tasks", tasks}});
  co_return json_answer(answer);
}

}  // namespace

Json page_job(const LiveJob& live, const Jobs& jobs, const Dispatcher& dispatcher) {
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
  }
  if (job.error) out["error"] = job.error->text();
  return out;
}

void add_page_routes(Router& router, ApiContext& context) {
  const std::pair<const char*, std::pair<const char*, const char*>> files[] = {
      {"/", {"index.html", "text/html; charset=utf-8"}},
      {"/page/app.js", {"app.js", "text/javascript; charset=utf-8"}},
      {"/page/style.css", {"style.css", "text/css; charset=utf-8"}},
      {"/page/icon.svg", {"icon.svg", "image/svg+xml"}}};
  for (const auto& [path, file] : files)
    router.add("GET", path, [file = file](Exchange&, const Captures&) -> Awaitable<Answer> {
      co_return page_answer(file.first, file.second);
    });

  router.add("GET", "/page/session", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    Json session = {{"keys", context.access.wants_keys()}, {"signed_in", false}};
    try {
      const Caller caller = context.access.caller(exchange);
      session.update(Json{{"signed_in", true}, {"name", caller.name}, {"admin", caller.admin}});
    } catch (const HttpError& error) {
      if (error.answer.status != 401) throw;
    }
    co_return json_answer(session);
  });
  router.add("POST", "/page/session", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    const nlohmann::json body = co_await body_of(exchange);
    const std::string key =
        body.is_object() && body.contains("key") && body["key"].is_string() ? body["key"].get<std::string>() : "";
    const std::optional<std::string> cookie = context.access.sign_in(key);
    if (!cookie)
      throw HttpError(json_answer({{"detail", "This key is not known."}, {"error_type", "auth_error"}}, 401));
    Answer answer = no_content();
    answer.headers = {{"Set-Cookie", *cookie}};
    co_return answer;
  });
  router.add("DELETE", "/page/session", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    context.access.sign_out(exchange);
    co_return no_content();
  });

  router.add("GET", "/page/setup",
             [&context](Exchange& exchange, const Captures&) { return set_up(exchange, context); });
  router.add("GET", "/page/jobs",
             [&context](Exchange& exchange, const Captures&) { return list_jobs(exchange, context); });
  router.add("DELETE", "/page/jobs/{id}",
             [&context](Exchange& exchange, const Captures& captures) -> Awaitable<Answer> {
               const Caller caller = context.access.caller(exchange);
               if (!co_await context.jobs.remove(captures.at("id"), caller.owner()))
                 throw HttpError(
                     json_answer({{"detail", "Request not found, or not finished"}, {"error_type", "not_found"}}, 404));
               co_return no_content();
             });
  router.add("GET", "/page/events", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    const Caller caller = context.access.caller(exchange);
    Answer answer{.type = "text/event-stream"};
    answer.events = [&context, owner = caller.owner()](EventStream& events) { return tell(events, context, owner); };
    co_return answer;
  });

  const auto prices = std::make_shared<Prices>(context.settings.data / "prices.json");
  router.add("GET", "/page/prices", [&context, prices](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    context.access.caller(exchange);
    co_return json_answer({{"prices", prices->get()}});
  });
  router.add("PUT", "/page/prices", [&context, prices](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    if (!context.access.caller(exchange).admin)
      throw HttpError(json_answer({{"detail", "Prices are kept by an admin key."}, {"error_type", "auth_error"}}, 403));
    const nlohmann::json body = co_await body_of(exchange);
    prices->keep(checked_prices(body.is_object() && body.contains("prices") ? body["prices"] : nlohmann::json()));
    co_return no_content();
  });
  router.add("GET", "/page/savings", [&context, prices](Exchange& exchange, const Captures&) {
    return savings(exchange, context, prices->get());
  });
}

}  // namespace wan::serve
