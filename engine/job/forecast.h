// How long a batch still takes, from how long its steps took so far.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "engine/base/progress.h"

namespace wan {

/// Passes reports on with the seconds left for all jobs: for denoising and decoding each, work left times seconds per
/// work done. A stage of which nothing has been seen yet counts nothing.
class Forecast : public Progress {
 public:
  explicit Forecast(Progress& progress) : progress_(progress) {}

  /// A job that is to be done: `tokens` of its video (latent frames times patches), `steps` with both branches of guidance
  /// computed, of which one branch is half a step.
  void expect(const std::string& job, int64_t tokens, double steps);
  /// Nothing is left of it: it is finished, or failed.
  void forget(const std::string& job) { jobs_.erase(job); }
  void at(const Report& report) override;
  void check() override { progress_.check(); }

 private:
  using Clock = std::chrono::steady_clock;
  enum Kind { kDenoise, kDecode, kKinds };
  struct Work {
    double all[kKinds], left[kKinds];
  };

  std::optional<double> seconds_left() const;

  Progress& progress_;
  std::map<std::string, Work> jobs_;
  double seconds_[kKinds] = {}, done_[kKinds] = {};
  Report last_;
  Clock::time_point last_time_ = {};
};

}  // namespace wan
