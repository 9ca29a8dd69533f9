#include "engine/serve/net/router.h"

#include <set>
#include <span>

#include "engine/serve/net/text.h"

namespace wan::serve {
namespace {

// No route is as long; matching takes time that grows with the square of it.
constexpr size_t kMostSegments = 64;

using Segments = std::span<const std::string>;

/// The name in "{name}" or "{name...}"; empty for a fixed segment.
std::string_view name_of(std::string_view part) {
  if (part.size() < 3 || part.front() != '{' || part.back() != '}') return {};
  std::string_view name = part.substr(1, part.size() - 2);
  if (name.ends_with("...")) name.remove_suffix(3);
  return name;
}

bool takes_many(std::string_view part) {
  return part.starts_with('{') && part.ends_with("...}");
}

std::string joined(Segments segments) {
  std::string text;
  for (const std::string& segment : segments) text.append(text.empty() ? "" : "/").append(segment);
  return text;
}

bool fits(Segments pattern, Segments path, Captures& captures) {
  if (pattern.empty()) return path.empty();
  if (path.size() < pattern.size()) return false;
  const std::string& part = pattern.front();
  const std::string_view name = name_of(part);
  if (name.empty()) {
    return same_word(part, path.front()) && fits(pattern.subspan(1), path.subspan(1), captures);
  }
  const size_t most = takes_many(part) ? path.size() - pattern.size() + 1 : 1;
  for (size_t count = 1; count <= most && !path[count - 1].empty(); ++count) {
    if (fits(pattern.subspan(1), path.subspan(count), captures)) {
      captures.insert_or_assign(std::string(name), joined(path.first(count)));
      return true;
    }
  }
  return false;
}

std::vector<std::string> cut(std::string_view pattern) {
  std::vector<std::string> parts;
  while (!pattern.empty()) {
    if (pattern.front() == '/') pattern.remove_prefix(1);
    const std::string_view part = pattern.substr(0, pattern.find('/'));
    if (!part.empty()) parts.emplace_back(part);
    pattern.remove_prefix(part.size());
  }
  return parts;
}

/// The answer where no route takes this method; `methods` are those of the routes that the path fits.
Answer without_handler(const std::string& method, std::set<std::string> methods) {
  if (methods.empty()) return json_answer({{"detail", "Not Found"}}, 404);
  if (methods.contains("GET")) methods.insert("HEAD");
  methods.insert("OPTIONS");
  std::string allowed;
  for (const std::string& each : methods) allowed.append(allowed.empty() ? "" : ", ").append(each);
  if (method == "OPTIONS") return {.status = 204, .headers = {{"Allow", allowed}}};
  return json_answer({{"detail", "Method Not Allowed"}}, 405, {{"Allow", allowed}});
}

}  // namespace

void Router::add(std::string method, const std::string& pattern, RouteHandler handler) {
  routes_.push_back({std::move(method), cut(pattern), std::move(handler)});
}

Awaitable<Answer> Router::answer(Exchange& exchange) const {
  const std::vector<std::string>& path = exchange.segments();
  const std::string& method = exchange.method();
  const RouteHandler* handler = nullptr;
  const RouteHandler *get = nullptr, *any = nullptr;
  Captures captures, get_captures, any_captures;
  std::set<std::string> methods;
  for (const Route& route : routes_) {
    Captures found;
    if (path.size() > kMostSegments || !fits(route.pattern, path, found)) continue;
    if (route.method == "*") {
      if (any == nullptr) any = &route.handler, any_captures = std::move(found);
      continue;
    }
    methods.insert(route.method);
    if (route.method == method) {
      handler = &route.handler;
      captures = std::move(found);
      break;
    }
    if (method == "HEAD" && route.method == "GET" && get == nullptr) {
      get = &route.handler;
      get_captures = std::move(found);
    }
  }
  if (handler == nullptr && get != nullptr) {
    handler = get;
    captures = std::move(get_captures);
  }
  if (handler == nullptr && any != nullptr) {
    handler = any;
    captures = std::move(any_captures);
  }
  if (handler == nullptr) co_return without_handler(method, methods);
  co_return co_await (*handler)(exchange, captures);
}

}  // namespace wan::serve
