// Ended jobs and uploads in the order in which they may go.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/serve/age_clock.h"
#include "engine/serve/api/files.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

/// What is asked for here is older than `least` ms, and no open job needs it; a few at a time, the oldest first by
/// their stamps. Throws as Jobs::ask.
class OldestKept {
 public:
  OldestKept(Jobs& jobs, Files& files, const AgeClock& ages) : jobs_(jobs), files_(files), ages_(ages) {}

  /// `hidden`: of those that were removed, else of the others.
  Awaitable<std::vector<EndedJob>> jobs(bool hidden, int64_t least);
  Awaitable<std::vector<PutUpload>> uploads(int64_t least);

 private:
  template <typename Kept>
  Awaitable<std::vector<Kept>> oldest(std::function<std::vector<Kept>(Store&, int64_t)> list, int64_t least);

  Jobs& jobs_;
  Files& files_;
  const AgeClock& ages_;
};

}  // namespace wan::serve
