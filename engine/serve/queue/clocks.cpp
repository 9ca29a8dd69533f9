#include "engine/serve/queue/clocks.h"

#include <time.h>

#include <algorithm>
#include <utility>

namespace wan::serve {
namespace {

int64_t milliseconds(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return int64_t(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000;
}

}  // namespace

Clocks clocks_of_machine() {
  return {[] { return milliseconds(CLOCK_REALTIME); }, [] { return milliseconds(CLOCK_BOOTTIME); }};
}

EvenClock::EvenClock(Clocks clocks, int64_t least) : clocks_(std::move(clocks)) {
  ahead_ = std::max(clocks_.wall(), least) - clocks_.boot();
}

int64_t EvenClock::now() const {
  return clocks_.boot() + ahead_;
}

}  // namespace wan::serve
