// Uploads of fal's Python client, which sends its key with each request: a token, then one request or parts.
#include "engine/serve/api/uploads.h"
#include "engine/serve/net/answer.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

constexpr int64_t kDay = 24 * 3600 * 1000;  // ms

/// Of the key that the caller sent: what is behind the scheme.
std::string key_of(const Exchange& exchange) {
  const std::string given = header_text(exchange, "Authorization");
  const size_t blank = given.find(' ');
  return blank == given.npos ? "local" : given.substr(blank + 1);
}

/// What the headers call the file.
UploadName name_in(const Exchange& exchange, const Caller& caller) {
  return {.file = Files::new_name(header_text(exchange, "X-Fal-File-Name")),
          .owner = caller.name,
          .type = plain_type(header_text(exchange, "Content-Type"))};
}

Awaitable<Answer> give_token(Uploads& uploads, Exchange& exchange) {
  uploads.context.access.caller(exchange);
  // The client sends this back in its uploads, so that they are its own.
  co_return json_answer({{"token", key_of(exchange)},
                         {"token_type", "Bearer"},
                         {"base_url", exchange.base_url()},
                         {"expires_at", iso_time_with_offset(now_ms() + kDay)}},
                        200, {{"Cache-Control", "no-store"}});
}

Awaitable<Answer> take_whole(Uploads& uploads, Exchange& exchange) {
  const Caller caller = uploads.context.access.caller(exchange);
  const UploadName upload = name_in(exchange, caller);
  co_await uploads.take(exchange, upload, caller.quota);
  const std::string url = uploads.url_of(exchange, upload.file);
  co_return json_answer({{"access_url", url}});
}

Awaitable<Answer> begin_parts(Uploads& uploads, Exchange& exchange) {
  const Caller caller = uploads.context.access.caller(exchange);
  co_await exchange.read_body(kMostUploadRequest);
  const UploadName upload = name_in(exchange, caller);
  const std::string parts = co_await uploads.begin(exchange, upload, caller.quota);
  const std::string url = uploads.url_of(exchange, upload.file);
  co_return json_answer({{"access_url", url}, {"uploadId", parts}});
}

Awaitable<Answer> take_part(Uploads& uploads, Exchange& exchange, const Captures& names) {
  const Caller caller = uploads.context.access.caller(exchange);
  const std::string file = names.at("file"), parts = names.at("parts"), number = names.at("number");
  const std::optional<UploadName> upload = co_await uploads.in_parts(exchange, parts);
  if (!upload || upload->file != file || upload->owner != caller.name) co_return unknown_upload();
  co_return co_await uploads.take_part(exchange, *upload, caller.quota, parts, number);
}

Awaitable<Answer> end_parts(Uploads& uploads, Exchange& exchange, const Captures& names) {
  const Caller caller = uploads.context.access.caller(exchange);
  const std::string file = names.at("file"), parts = names.at("parts");
  const std::optional<UploadName> upload = co_await uploads.in_parts(exchange, parts);
  if (!upload && Files::is_name(file)) {
    const std::optional<std::filesystem::path> joined = co_await find_upload(uploads.context, file, caller);
    if (joined) co_return json_answer({{"access_url", uploads.url_of(exchange, file)}});  // a client that asks again
  }
  if (!upload || upload->file != file || upload->owner != caller.name) co_return unknown_upload();
  co_return co_await uploads.join(exchange, *upload, parts);
}

/// "complete" is no number of a part: what fits the pattern of parts, too, takes POST alone.
void take_post_alone(Router& router, const char* pattern) {
  const std::vector<Header> allow = {{"Allow", "OPTIONS, POST"}};
  router.add("OPTIONS", pattern, [allow](Exchange&, const Captures&) -> Awaitable<Answer> {
    co_return Answer{.status = 204, .headers = allow};
  });
  router.add("PUT", pattern, [allow](Exchange&, const Captures&) -> Awaitable<Answer> {
    co_return json_answer({{"detail", "Method Not Allowed"}}, 405, allow);
  });
}

}  // namespace

void add_keyed_uploads(Router& router, const std::shared_ptr<Uploads>& uploads) {
  for (const char* pattern :
       {"/files/uploads/{file}/multipart/{parts}/complete", "/storage/parts/{file}/{parts}/complete"})
    take_post_alone(router, pattern);
  router.add("POST", "/storage/auth/token",
             [uploads](Exchange& at, const Captures&) { return give_token(*uploads, at); });
  router.add("POST", "/files/upload", [uploads](Exchange& at, const Captures&) { return take_whole(*uploads, at); });
  router.add("POST", "/files/upload/multipart",
             [uploads](Exchange& at, const Captures&) { return begin_parts(*uploads, at); });
  router.add("PUT", "/files/uploads/{file}/multipart/{parts}/{number}",
             [uploads](Exchange& at, const Captures& names) { return take_part(*uploads, at, names); });
  router.add("POST", "/files/uploads/{file}/multipart/{parts}/complete",
             [uploads](Exchange& at, const Captures& names) { return end_parts(*uploads, at, names); });
}

}  // namespace wan::serve
