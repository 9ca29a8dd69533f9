// Signing in at the page with a key, for a cookie.
#include "engine/serve/api/page_parts.h"

namespace wan::serve {
namespace {

Answer session(const Exchange& exchange, ApiContext& context) {
  nlohmann::ordered_json told = {{"keys", context.access.wants_keys()}, {"signed_in", false}};
  try {
    const Caller caller = context.access.caller(exchange);
    told.update(nlohmann::ordered_json{{"signed_in", true}, {"name", caller.name}, {"admin", caller.admin}});
  } catch (const HttpError& error) {
    if (error.answer.status != 401) throw;
  }
  return json_answer(told);
}

Awaitable<Answer> sign_in(Exchange& exchange, ApiContext& context) {
  const nlohmann::json body = co_await page_body(exchange);
  const std::string key =
      body.is_object() && body.contains("key") && body["key"].is_string() ? body["key"].get<std::string>() : "";
  const std::optional<std::string> cookie = context.access.sign_in(key);
  if (!cookie) throw HttpError(json_answer({{"detail", "This key is not known."}, {"error_type", "auth_error"}}, 401));
  Answer answer = no_content();
  answer.headers = {{"Set-Cookie", *cookie}};
  co_return answer;
}

Answer sign_out(const Exchange& exchange, ApiContext& context) {
  context.access.sign_out(exchange);
  Answer answer = no_content();
  answer.headers = {{"Set-Cookie", context.access.signed_out()}};
  return answer;
}

}  // namespace

void add_session_routes(Router& router, ApiContext& context) {
  router.add("GET", "/page/session", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    co_return session(exchange, context);
  });
  router.add("POST", "/page/session",
             [&context](Exchange& exchange, const Captures&) { return sign_in(exchange, context); });
  router.add("DELETE", "/page/session", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    co_return sign_out(exchange, context);
  });
}

}  // namespace wan::serve
