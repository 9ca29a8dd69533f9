// From method and path to a handler.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

/// What stood at the names of a pattern, decoded.
using Captures = std::map<std::string, std::string>;
using RouteHandler = std::function<Awaitable<Answer>(Exchange&, const Captures&)>;

/// Patterns are "/queue/{model...}/requests/{id}/status": {name} takes one segment, {name...} one or more, as few as
/// possible; fixed segments are compared without regard to case. Of several that fit, the one that was added first counts.
/// A method "*" takes those for which the path has no other route.
class Router {
 public:
  void add(std::string method, const std::string& pattern, RouteHandler handler);
  /// Runs the handler. A path that no pattern fits: 404 {"detail":"Not Found"}; a method that none has: 405 with Allow.
  /// HEAD runs GET. OPTIONS without a handler of its own: 204 with Allow.
  Awaitable<Answer> answer(Exchange& exchange) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> pattern;
    RouteHandler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace wan::serve
