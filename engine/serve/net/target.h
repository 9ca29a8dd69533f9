// The target of a request line: "/a%20b?c=d" to path, segments and query.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace wan::serve {

struct Target {
  std::string path;                          // decoded, from "/"
  std::vector<std::string> segments;         // cut first, decoded then
  std::map<std::string, std::string> query;  // decoded; of a name that comes twice the last value
};

/// Takes "/path?query", "http://host/path?query" (of which the host is left out) and "*" of OPTIONS (as "/"). A "+" of the
/// query is a space; a "%" without two digits behind it is refused in the path and stays in the query. Throws HttpError 400
/// for what has no clear meaning: segments "." and "..", backslashes, control characters, text that is not UTF-8, however
/// they are written.
Target parse_target(std::string_view method, std::string_view target);

}  // namespace wan::serve
