#include "engine/serve/reporter.h"

#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "models/files/error.h"

namespace wan::serve {
namespace {

std::string time_text() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts = {};
  gmtime_r(&now.tv_sec, &parts);
  char text[80];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1'000'000);
  return text;
}

}  // namespace

void Reporter::operator()(const std::string& text) const {
  const std::string line = json_ ? nlohmann::ordered_json{{"time", time_text()}, {"text", text}}.dump(
                                       -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                                       "\n"
                                 : time_text() + " " + shown_text(text, 2000) + "\n";
  // One call, so that lines of several threads do not mix. A reader who has gone ends nothing.
  for (size_t at = 0; at < line.size();) {
    const ssize_t written = write(STDERR_FILENO, line.data() + at, line.size() - at);
    if (written <= 0) return;
    at += size_t(written);
  }
}

}  // namespace wan::serve
