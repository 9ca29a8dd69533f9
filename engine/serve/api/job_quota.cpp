#include "engine/serve/api/job_quota.h"

#include <set>
#include <utility>

#include "engine/request/params.h"

namespace wan::serve {

Awaitable<JobQuotas::Place> JobQuotas::take(Jobs& jobs, Access::Form form, Caller caller, std::string job,
                                            double seconds) {
  const auto all = all_;
  if (caller.quota.queued_jobs > 0) {
    std::set<std::string> own;
    for (const JobPtr& open : jobs.unfinished())
      if (open->job.owner == caller.name) own.insert(open->job.id);
    for (const auto& [number, pending] : *all)
      if (pending.owner == caller.name) own.insert(pending.job);
    if (int64_t(own.size()) >= caller.quota.queued_jobs)
      throw HttpError(refusal(form, 429, "bad_request",
                              "Your key may have " + std::to_string(caller.quota.queued_jobs) +
                                  " jobs in the queue; wait until one has ended",
                              {{"Retry-After", "10"}}));
  }
  Place place(all, ++last_);
  all->emplace(place.number_, Pending{caller.name, seconds, std::move(job)});
  if (caller.quota.video_seconds <= 0) co_return place;
  constexpr int64_t kDay = 24 * 3600 * 1000;
  const std::function<double(Store&)> question = [owner = caller.name, since = jobs.quota_time() - kDay](Store& store) {
    return store.video_seconds_since(owner, since);
  };
  double used = co_await jobs.ask(question);
  // Those that came before it and are no jobs yet. The store answers in the order in which it is asked, so that one
  // which has left meanwhile was among its jobs.
  for (const auto& [number, pending] : *all)
    if (number < place.number_ && pending.owner == caller.name) used += pending.seconds;
  if (used + seconds > caller.quota.video_seconds)
    throw HttpError(refusal(form, 403, "bad_request",
                            "Your key may ask for " + number_text(caller.quota.video_seconds) +
                                " seconds of video within 24 hours, has asked for " + number_text(used) +
                                ", and this request has " + number_text(seconds)));
  co_return place;
}

}  // namespace wan::serve
