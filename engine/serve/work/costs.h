// How long jobs take, from how long earlier ones took.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/serve/queue/job.h"

namespace wan::serve {

/// Seconds for each step of a job, by endpoint, size and length; newer jobs count more.
class Costs {
 public:
  /// A job took `seconds` of work.
  void add(const Job& job, double seconds);
  /// Nothing where no job of this endpoint and size was seen, or the length follows from a sound.
  std::optional<double> seconds(const Job& job) const;
  /// Of all jobs so far; nothing before the first.
  std::optional<double> mean() const { return mean_; }

 private:
  std::map<std::string, double> by_size_;  // seconds for a step and frame
  std::optional<double> mean_;
};

/// Names what must be equal in two jobs so that they can share loaded weights: model, parts and precision.
std::string model_key(const Job& job);

}  // namespace wan::serve
