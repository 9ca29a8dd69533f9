// Which of its scales a LoRA has at which step. No tensors.
#pragma once

#include <vector>

#include "engine/request/schedule.h"

namespace wan {

/// m scales are for m runs, as equal as can be, of the steps that a transformer makes in the whole schedule: where
/// video to video leaves the first steps out, the others keep the scales that they have without it.
class LoraScales {
 public:
  explicit LoraScales(const Request& request);
  /// How many steps of the whole schedule the transformer of `step` makes.
  int64_t steps(bool high) const;
  /// Of `scales`, none of which may be more than steps(), the one of a step of the schedule.
  double at(const std::vector<double>& scales, const Step& step) const;

 private:
  bool is_own(const Step& step, bool high) const { return speech_ || step.high == high; }

  bool speech_;  // one transformer makes all
  Schedule whole_;
};

}  // namespace wan
