#include "engine/serve/api/proxy.h"

#include <strings.h>

#include "engine/serve/api/context.h"
#include "engine/serve/api/forwarded.h"
#include "engine/serve/net/answer.h"

namespace wan::serve {
namespace {

struct Host {
  std::string_view name, prefix, paths;  // what its paths begin with there
};

constexpr Host kHosts[] = {{"queue.fal.run", "/queue", "/fal-ai/"},
                           {"fal.run", "", "/fal-ai/"},
                           {"rest.fal.ai", "", "/storage/"},
                           {"rest.alpha.fal.ai", "", "/storage/"}};

constexpr const char* kUsual = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";  // of methods that are sent to it

bool begins(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && strncasecmp(text.data(), start.data(), start.size()) == 0;
}

Awaitable<Answer> dispatch(const Router& router, Exchange& exchange) {
  const std::optional<std::string_view> url = exchange.header("x-fal-target-url");
  if (!url && exchange.method() == "OPTIONS")  // a browser that asks, or a program that looks what there is
    co_return Answer{.status = 204, .headers = {{"Allow", kUsual}}};
  if (!url) co_return error_answer(400, "The header x-fal-target-url is missing", "bad_request");
  const std::optional<std::string> target = local_target(*url);
  if (!target)
    co_return error_answer(404,
                           "x-fal-target-url must be a URL of https://fal.run, https://queue.fal.run or "
                           "https://rest.fal.ai",
                           "not_found");
  Forwarded forwarded(exchange, parse_target(exchange.method(), *target));
  co_return co_await router.answer(forwarded);
}

}  // namespace

std::optional<std::string> local_target(std::string_view url) {
  constexpr std::string_view kScheme = "https://";
  if (!begins(url, kScheme)) return std::nullopt;
  url.remove_prefix(kScheme.size());
  for (const Host& host : kHosts) {
    if (!begins(url, host.name)) continue;
    std::string_view rest = url.substr(host.name.size());
    if (rest.starts_with(":443")) rest.remove_prefix(4);
    if (begins(rest, host.paths)) return std::string(host.prefix) + std::string(rest.substr(0, rest.find('#')));
  }
  return std::nullopt;
}

void add_proxy_routes(Router& router, ApiContext&) {
  router.add("*", "/api/fal/proxy",
             [&router](Exchange& exchange, const Captures&) { return dispatch(router, exchange); });
}

}  // namespace wan::serve
