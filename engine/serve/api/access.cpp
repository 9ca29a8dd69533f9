#include "engine/serve/api/access.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "engine/serve/api/openai_error.h"
#include "engine/serve/net/text.h"
#include "engine/serve/queue/ids.h"
#include "models/files/digest.h"

namespace wan::serve {
namespace {

constexpr const char* kCookie = "wan_session";
constexpr size_t kMostSessions = 10'000, kLongestKey = 4096;
constexpr double kBurst = 10;  // seconds of the rate that may come at once

/// The name in "name:port", "[v6]:port" or either alone, in lower case, of an IPv6 address without brackets; empty
/// where the text is neither.
std::string host_of(std::string_view text) {
  std::string_view name = text, rest;
  const bool brackets = text.starts_with('[');
  if (brackets) {
    const size_t end = text.find(']');
    if (end == text.npos) return {};
    name = text.substr(1, end - 1), rest = text.substr(end + 1);
  } else if (const size_t colon = text.find(':'); colon != text.npos) {
    name = text.substr(0, colon), rest = text.substr(colon);
  }
  if (!rest.empty() &&
      (rest[0] != ':' || rest.size() > 6 || rest.substr(1).find_first_not_of("0123456789") != std::string_view::npos))
    return {};
  in6_addr v6;
  if (brackets && inet_pton(AF_INET6, std::string(name).c_str(), &v6) != 1) return {};
  std::string host = lower_case(name);
  if (!brackets && host.ends_with('.')) host.pop_back();
  return host;
}

bool is_address(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

/// Names of *.localhost lead to loopback alone (RFC 6761); clients of fal put "queue." before a host.
bool is_loopback(const std::string& host) {
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "localhost" || host.ends_with(".localhost") || host == "::1";
}

bool is_wildcard(const std::string& host) {
  return host == "0.0.0.0" || host == "::" || host.empty();
}

/// "https://host:port" of a URL, in lower case.
std::string origin_of(const std::string& url) {
  const size_t begin = url.find("://");
  return begin == url.npos ? "" : lower_case(url.substr(0, url.find('/', begin + 3)));
}

bool changes_something(const std::string& method) {
  return method != "GET" && method != "HEAD" && method != "OPTIONS";
}

/// The text behind "Key" or "Bearer".
std::optional<std::string> key_of(std::string_view authorization) {
  const size_t space = authorization.find(' ');
  if (space == authorization.npos) return std::nullopt;
  const std::string_view scheme = authorization.substr(0, space);
  if (!same_word(scheme, "Key") && !same_word(scheme, "Bearer")) return std::nullopt;
  const size_t begin = authorization.find_first_not_of(' ', space);
  if (begin == authorization.npos) return std::nullopt;
  return std::string(authorization.substr(begin));
}

std::string cookie_of(const Exchange& exchange) {
  const std::string cookies(exchange.header("Cookie").value_or(""));
  for (size_t at = 0; at < cookies.size();) {
    const size_t end = std::min(cookies.find(';', at), cookies.size());
    const std::string_view one = std::string_view(cookies).substr(at, end - at);
    const size_t sign = one.find('=');
    if (sign != one.npos && one.substr(0, sign) == kCookie) return std::string(one.substr(sign + 1));
    at = cookies.find_first_not_of(' ', end + 1);
  }
  return {};
}

}  // namespace

Answer refusal(Access::Form form, int status, const std::string& type, const std::string& text,
               std::vector<Header> headers) {
  if (form == Access::Form::WaveSpeed)
    return json_answer({{"code", status}, {"message", text}}, status, std::move(headers));
  if (form == Access::Form::OpenAi) return openai_error(status, type, text, "", std::move(headers));
  headers.emplace_back("X-Fal-Error-Type", type);
  return json_answer({{"detail", text}, {"error_type", type}}, status, std::move(headers));
}

Access::Form form_of(const Exchange& exchange) {
  const std::vector<std::string>& segments = exchange.segments();
  if (!segments.empty() && same_word(segments[0], "v1")) return Access::Form::OpenAi;
  const bool below = segments.size() >= 2 && same_word(segments[0], "api") && same_word(segments[1], "v3");
  return below ? Access::Form::WaveSpeed : Access::Form::Fal;
}

Access::Access(Options options) : options_(std::move(options)) {
  listen_host_ = host_of(options_.listen);
  public_origin_ = origin_of(options_.public_url);
  if (!public_origin_.empty()) public_host_ = host_of(public_origin_.substr(public_origin_.find("://") + 3));
  options_.cors = lower_case(options_.cors);
}

/// All keys are compared, whichever fits, so that the time tells nothing.
const Key* Access::find_key(const std::string& hash) const {
  const Key* found = nullptr;
  for (const Key& key : options_.keys)
    if (key.hash.size() == hash.size() && CRYPTO_memcmp(key.hash.data(), hash.data(), hash.size()) == 0) found = &key;
  return found;
}

std::optional<std::string> Access::key_hash(const std::string& name) const {
  if (!wants_keys() && name.empty()) return std::string();
  for (const Key& key : options_.keys)
    if (key.name == name) return key.hash;
  return std::nullopt;
}

const Access::Session* Access::session(const Exchange& exchange) const {
  const std::string cookie = cookie_of(exchange);
  if (cookie.empty() || cookie.size() > kLongestKey) return nullptr;
  const auto found = sessions_.find(sha256({cookie}));
  return found == sessions_.end() ? nullptr : &found->second;
}

Caller Access::caller(const Exchange& exchange, Form form) {
  if (!wants_keys()) {
    take_token("", form);
    return {};
  }
  const Key* key = nullptr;
  const auto authorization = exchange.header("Authorization");
  if (authorization) {
    const std::optional<std::string> text = key_of(*authorization);
    if (text && text->size() <= kLongestKey) key = find_key(sha256({*text}));
  } else if (const Session* found = session(exchange)) {
    key = find_key(found->key);
  }
  if (!key)
    throw HttpError(refusal(form, 401, "auth_error",
                            authorization ? "The key is not known to this server"
                                          : "A key is needed: send the header Authorization: Key YOUR_KEY",
                            {{"WWW-Authenticate", "Bearer"}}));
  take_token(key->name, form);
  return {key->name, key->admin, key->quota};
}

void Access::take_token(const std::string& name, Form form) {
  const double rate = options_.requests_per_second;
  if (rate <= 0) return;
  const double most = std::max(1.0, rate * kBurst);
  const auto now = std::chrono::steady_clock::now();
  const auto [place, is_new] = buckets_.try_emplace(name, Bucket{most, now});
  Bucket& bucket = place->second;
  bucket.tokens = std::min(most, bucket.tokens + rate * std::chrono::duration<double>(now - bucket.at).count());
  bucket.at = now;
  if (bucket.tokens < 1) {
    const int64_t wait = std::max<int64_t>(1, int64_t(std::ceil((1 - bucket.tokens) / rate)));
    throw HttpError(refusal(form, 429, "rate_limited", "Too many requests; try again in " + std::to_string(wait) + " s",
                            {{"Retry-After", std::to_string(wait)}}));
  }
  bucket.tokens -= 1;
}

/// An address in place of a name cannot be rebound to this machine by a name server: where every address of the machine
/// is listened at, each of them may be called.
bool Access::is_own_host(std::string_view text) const {
  const std::string host = host_of(text);
  if (host.empty()) return false;
  if (is_loopback(host) || host == listen_host_) return true;
  if (is_wildcard(listen_host_) && is_address(host)) return true;
  return !public_host_.empty() && (host == public_host_ || host == "queue." + public_host_);
}

/// A proxy in front may speak TLS where this server does not.
bool Access::is_own_origin(const Exchange& exchange, std::string_view sent) const {
  const std::string origin = lower_case(sent), host = lower_case(exchange.header("Host").value_or(""));
  if (!public_origin_.empty() && origin == public_origin_) return true;
  return origin == "https://" + host || (!exchange.is_tls() && origin == "http://" + host);
}

void Access::check_source(const Exchange& exchange) const {
  const std::string_view host = exchange.header("Host").value_or("");
  if (!is_own_host(host))
    throw HttpError(
        refusal(form_of(exchange), 403, "bad_request",
                "The header Host must name this server: localhost, the address at which it listens, or that "
                "of --public-url"));
  const auto origin = exchange.header("Origin");
  if (!origin || !changes_something(exchange.method()) || is_own_origin(exchange, *origin)) return;
  if (!options_.cors.empty() && same_word(*origin, options_.cors)) return;
  throw HttpError(refusal(form_of(exchange), 403, "bad_request",
                          "Pages of other origins may not send requests here; wan-serve --cors ORIGIN allows one"));
}

std::vector<Header> Access::cors_headers(const Exchange& exchange) const {
  if (options_.cors.empty()) return {};
  const auto origin = exchange.header("Origin");
  if (!origin || !same_word(*origin, options_.cors)) return {{"Vary", "Origin"}};
  return {{"Access-Control-Allow-Origin", std::string(*origin)},
          {"Access-Control-Expose-Headers",
           "x-fal-request-id, x-fal-error-type, x-fal-retryable, x-fal-request-timeout-type, retry-after, etag, "
           "openai-poll-after-ms"},
          {"Vary", "Origin"}};
}

std::optional<Answer> Access::preflight(const Exchange& exchange) const {
  const auto origin = exchange.header("Origin");
  if (exchange.method() != "OPTIONS" || options_.cors.empty() || !origin || !same_word(*origin, options_.cors) ||
      !exchange.header("Access-Control-Request-Method"))
    return std::nullopt;
  // There is no form for "x-fal-*" and "x-stainless-*" in this header, so that of the names that were asked for the
  // allowed ones come back.
  std::string allowed = "authorization, content-type, x-fal-target-url";
  const std::string asked = lower_case(exchange.header("Access-Control-Request-Headers").value_or(""));
  for (size_t at = 0; at < asked.size();) {
    const size_t end = std::min(asked.find(',', at), asked.size()), begin = asked.find_first_not_of(' ', at);
    std::string name = begin < end ? asked.substr(begin, end - begin) : "";
    name.resize(name.find_last_not_of(' ') + 1);
    const bool is_word = name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == name.npos;
    const bool is_known =
        name.starts_with("x-fal-") || name.starts_with("x-client-") || name.starts_with("x-stainless-");
    if (is_word && is_known && name != "x-fal-target-url") allowed += ", " + name;
    at = end + 1;
  }
  Answer answer{.status = 204, .type = ""};
  answer.headers = {{"Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE"},
                    {"Access-Control-Allow-Headers", allowed},
                    {"Access-Control-Max-Age", "600"}};
  return answer;
}

std::string Access::cookie_attributes() const {
  return std::string("; Path=/; HttpOnly; SameSite=Strict") + (options_.secure_cookies ? "; Secure" : "");
}

std::optional<std::string> Access::sign_in(const std::string& key) {
  const Key* known = key.size() <= kLongestKey ? find_key(sha256({key})) : nullptr;
  if (!known) return std::nullopt;
  if (sessions_.size() >= kMostSessions)
    sessions_.erase(std::min_element(sessions_.begin(), sessions_.end(),
                                     [](const auto& a, const auto& b) { return a.second.number < b.second.number; }));
  const std::string cookie = random_hex(32);
  sessions_[sha256({cookie})] = {known->hash, ++sessions_begun_};
  return kCookie + ("=" + cookie) + cookie_attributes();
}

void Access::sign_out(const Exchange& exchange) {
  if (const std::string cookie = cookie_of(exchange); !cookie.empty() && cookie.size() <= kLongestKey)
    sessions_.erase(sha256({cookie}));
}

std::string Access::signed_out() const {
  return kCookie + ("=; Max-Age=0" + cookie_attributes());
}

void Access::replace_keys(std::vector<Key> keys) {
  options_.keys = std::move(keys);
  std::erase_if(sessions_, [&](const auto& entry) { return !find_key(entry.second.key); });
  std::erase_if(buckets_, [&](const auto& entry) {
    return std::none_of(options_.keys.begin(), options_.keys.end(),
                        [&](const Key& key) { return key.name == entry.first; });
  });
}

}  // namespace wan::serve
