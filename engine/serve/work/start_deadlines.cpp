#include "engine/serve/work/start_deadlines.h"

#include <algorithm>

#include "engine/serve/work/batch.h"

namespace wan::serve {
namespace {

using std::chrono::milliseconds;

/// Whether it was begun by any worker, in this process or before.
bool has_begun(const LiveJob& job) {
  return job.job.started != 0 || job.job.status != JobStatus::Queued;
}

milliseconds given(const Job& job) {
  return milliseconds(std::max<int64_t>(*job.start_before - job.created, 0));
}

}  // namespace

void StartDeadlines::add_new(const JobPtr& job, Clock::time_point now) {
  if (job->job.start_before && !has_begun(*job)) deadlines_.push_back({now + given(job->job), job});
}

void StartDeadlines::add_earlier(const JobPtr& job, Clock::time_point now, int64_t wall_ms) {
  if (!job->job.start_before || has_begun(*job)) return;
  const milliseconds left(*job->job.start_before - wall_ms);
  deadlines_.push_back({now + std::clamp(left, milliseconds(0), given(job->job)), job});
}

std::vector<JobPtr> StartDeadlines::take_late(Clock::time_point now) {
  std::vector<JobPtr> late;
  std::erase_if(deadlines_, [&](const Deadline& deadline) {
    const JobPtr job = deadline.job.lock();
    if (!job || has_begun(*job) || is_over(*job)) return true;
    if (now <= deadline.at) return false;
    late.push_back(job);
    return true;
  });
  return late;
}

}  // namespace wan::serve
