// Until when jobs must begin, by a clock that nobody sets.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/serve/queue/jobs.h"

namespace wan::serve {

class StartDeadlines {
 public:
  using Clock = std::chrono::steady_clock;

  /// A job without a deadline, and one that has begun, is left out. The time that its client gave it runs from `now`,
  /// of a job that was accepted at this moment.
  void add_new(const JobPtr& job, Clock::time_point now);
  /// The same of a job of an earlier process, which has what is left at `wall_ms` (since 1970) by the machine's clock:
  /// never more than the client gave it.
  void add_earlier(const JobPtr& job, Clock::time_point now, int64_t wall_ms);
  /// Those that still wait and are late. They leave, and so do those that have begun or ended.
  std::vector<JobPtr> take_late(Clock::time_point now);
  size_t size() const { return deadlines_.size(); }

 private:
  struct Deadline {
    Clock::time_point at;
    std::weak_ptr<LiveJob> job;
  };
  std::vector<Deadline> deadlines_;
};

}  // namespace wan::serve
