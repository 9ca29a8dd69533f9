#include "engine/serve/api/page.h"

#include "engine/request/version.h"
#include "engine/serve/api/page_parts.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

using Json = nlohmann::ordered_json;

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

const char* state_name(const WorkerState& worker) {
  switch (worker.state) {
    case WorkerState::Starting:
      return "starting";
    case WorkerState::Idle:
      return "idle";
    case WorkerState::Working:
      return "working";
    case WorkerState::Held:
      return "waiting for another process";
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

Awaitable<Answer> set_up(Exchange& exchange, ApiContext& context) {
  const Caller caller = context.access.caller(exchange);
  Json endpoints = Json::object(), tasks = Json::array(), checks = Json::object(), interpolators = Json::array();
  const bool has_checker = !context.settings.safety_checker.empty();
  for (const auto& [task, endpoint] : kEndpoints) {
    endpoints[task] = endpoint;
    const std::string model = std::string(task) == "v2v" && !context.settings.models.count("v2v") ? "t2v" : task;
    if (context.settings.models.count(model)) tasks.push_back(task);
    checks[task] = Json::array();
    const bool words = std::string(task) == "t2v" && !context.settings.blocked_words.empty();
    if (has_checker || words) checks[task].push_back("enable_safety_checker");
    if (has_checker) checks[task].push_back("enable_output_safety_checker");
  }
  for (const auto& [model, weights] : context.settings.interpolators) interpolators.push_back(model);
  Json answer = page_workers(context.dispatcher, caller.admin);
  answer.update(Json{{"version", version()},
                     {"size_override", context.settings.size_override},
                     {"expands_prompts", !context.settings.expander_url.empty()},
                     {"interpolators", interpolators},
                     {"endpoints", endpoints},
                     {"tasks", tasks},
                     {"checks", checks}});
  co_return json_answer(answer);
}

}  // namespace

Answer no_content() {
  Answer answer;
  answer.status = 204;
  return answer;
}

Awaitable<nlohmann::json> page_body(Exchange& exchange) {
  const std::string body = co_await exchange.read_body(kMostBody);
  try {
    co_return parse_json(body);
  } catch (const std::exception&) {
    throw HttpError(json_answer({{"detail", "the body is no JSON"}, {"error_type", "bad_request"}}, 422));
  }
}

Json page_workers(const Dispatcher& dispatcher, bool is_admin) {
  Json workers = Json::array();
  for (const WorkerState& worker : dispatcher.workers())
    workers.push_back({{"device", worker.device},
                       {"name", worker.name},
                       {"state", state_name(worker)},
                       {"trouble", is_admin ? worker.trouble : std::string()}});
  return {{"workers", workers}, {"paused", dispatcher.paused()}};
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

  router.add("GET", "/page/setup",
             [&context](Exchange& exchange, const Captures&) { return set_up(exchange, context); });
  const auto prices = std::make_shared<Prices>(context.settings.data / "prices.json");
  add_session_routes(router, context);
  add_page_job_routes(router, context, prices);
  add_price_routes(router, context, prices);
}

}  // namespace wan::serve
