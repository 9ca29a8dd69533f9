// Measures how much the transformer's residual changes from step to step, for wan-infer calibrate.
// Source: MagCache4Wan2.1, magcache_calibration: mean over tokens of the ratio of norms, its deviation, cosine distance.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <map>
#include <vector>

#include "engine/request/calibration.h"
#include "engine/request/schedule.h"
#include "models/wan/model.h"

namespace wan {

class ResidualMeter {
 public:
  /// `dtype`: what the residual of the step before is kept in.
  explicit ResidualMeter(at::ScalarType dtype) : dtype_(dtype) {}

  /// A run of steps begins: its first one is compared with nothing.
  void begin() { before_ = {}; }
  /// What sees a forward of all branches of this step; `embed` gives the tokens before the first block anew. Holds until
  /// the next call.
  const SeeBranch* see(const Step& step, std::function<at::Tensor()> embed);

  /// The means over all runs, for the steps of `schedule`. Throws std::runtime_error where a step that has one before it
  /// in its expert was never compared, or a norm was not finite.
  std::vector<CalibratedStep> means(const Schedule& schedule) const;

 private:
  struct Before {
    int64_t step = -1;  // Step::index
    bool high = true;
    at::Tensor residual = {};
  };
  struct Sum {
    ResidualChange sum = {0, 0, 0};
    int64_t count = 0;
  };

  void compare(size_t branch, const at::Tensor& residual);

  const at::ScalarType dtype_;
  Step step_ = {};
  std::function<at::Tensor()> embed_;
  std::array<Before, kBranches> before_;
  std::map<int64_t, std::array<Sum, kBranches>> sums_;  // by Step::index
  const SeeBranch see_ = [this](size_t branch, const at::Tensor& tokens) { compare(branch, tokens); };
};

/// A residual against an earlier one of the same shape [1, n, dim], over the tokens, in float32.
ResidualChange change_of(const at::Tensor& residual, const at::Tensor& before);

}  // namespace wan
