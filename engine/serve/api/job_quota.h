// What keys may ask for, also where several of their requests come at once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "engine/serve/api/access.h"
#include "engine/serve/queue/jobs.h"

namespace wan::serve {

/// Requests that were let in and are no jobs yet: they count for their key's quotas from the moment at which they are
/// checked, since a request waits for the disk several times before it is a job.
class JobQuotas {
 private:
  struct Pending {
    std::string owner;
    double seconds = 0;  // of video
    std::string job;     // the id that it will have
  };
  using All = std::map<uint64_t, Pending>;  // by number, in the order in which they came

 public:
  /// A request's part of the quotas: counts until it goes. It may outlive the quotas.
  class Place {
   public:
    Place(std::shared_ptr<All> all, uint64_t number) : all_(std::move(all)), number_(number) {}
    ~Place() {
      if (all_) all_->erase(number_);
    }
    Place(Place&&) = default;
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    friend class JobQuotas;
    std::shared_ptr<All> all_;
    uint64_t number_;
  };

  /// Counts a request for `seconds` of video that becomes the job of this id. Hold the place until that job is
  /// submitted, then let it go at once. Throws HttpError in the vendor's form: 429 with Retry-After where the key has
  /// as many jobs in the queue as it may, 403 where it has asked for too many seconds within 24 hours
  /// (Jobs::quota_time).
  Awaitable<Place> take(Jobs& jobs, Access::Form form, Caller caller, std::string job, double seconds);

 private:
  std::shared_ptr<All> all_ = std::make_shared<All>();
  uint64_t last_ = 0;
};

}  // namespace wan::serve
