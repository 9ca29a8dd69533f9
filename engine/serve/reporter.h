// What the server says to its operator, on stderr.
#pragma once

#include <string>

namespace wan::serve {

/// Writes lines: "2026-11-20T22:25:27.779Z text", or {"time", "text"} as JSON.
class Reporter {
 public:
  explicit Reporter(bool json) : json_(json) {}
  void operator()(const std::string& text) const;

 private:
  bool json_;
};

}  // namespace wan::serve
