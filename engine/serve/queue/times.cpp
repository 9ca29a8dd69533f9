#include "engine/serve/queue/times.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace wan::serve {
namespace {

namespace chrono = std::chrono;

std::string date_and_time(int64_t ms) {
  constexpr auto first = chrono::sys_days(chrono::year(1) / 1 / 1), end = chrono::sys_days(chrono::year(10000) / 1 / 1);
  constexpr int64_t kLeast = chrono::milliseconds(first.time_since_epoch()).count(),
                    kMost = chrono::milliseconds(end.time_since_epoch()).count() - 1;
  const chrono::sys_time<chrono::milliseconds> moment{chrono::milliseconds(std::clamp(ms, kLeast, kMost))};
  const auto day = chrono::floor<chrono::days>(moment);
  const chrono::year_month_day date(day);
  const chrono::hh_mm_ss time(moment - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03d", int(date.year()), unsigned(date.month()),
                unsigned(date.day()), int(time.hours().count()), int(time.minutes().count()),
                int(time.seconds().count()), int(time.subseconds().count()));
  return text;
}

}  // namespace

int64_t now_ms() {
  return chrono::duration_cast<chrono::milliseconds>(chrono::system_clock::now().time_since_epoch()).count();
}

std::string iso_time(int64_t ms) {
  return date_and_time(ms) + "Z";
}

std::string iso_time_with_offset(int64_t ms) {
  return date_and_time(ms) + "+00:00";
}

}  // namespace wan::serve
