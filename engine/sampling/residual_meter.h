// Measures how much the transformer's residual changes from step to step, for wan-infer calibrate.
// Source: MagCache4Wan2.1, magcache_calibration: mean over tokens of the ratio of norms, its deviation, cosine distance.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/request/calibration.h"
#include "engine/request/schedule.h"
#include "models/wan/model.h"

namespace wan {

/// What was measured of one run: of each step of its schedule, in their order, by branch.
using RunChanges = std::vector<std::array<std::optional<ResidualChange>, kBranches>>;

class ResidualMeter {
 public:
  /// Takes what was measured of a whole run, by its name.
  using Keep = std::function<void(const std::string& run, const RunChanges& changes)>;

  /// `dtype`: what the residual of the step before is kept in. `keep` is called by end().
  explicit ResidualMeter(at::ScalarType dtype, Keep keep = {}) : dtype_(dtype), keep_(std::move(keep)) {}

  /// A run of the steps of `schedule`, which must outlive it, begins or goes on in load(): its first step is compared with
  /// nothing. Drops what was kept of another.
  void begin(std::string run, const Schedule& schedule);
  /// What sees a forward of all branches of this step; x [16, T, h, w]: the latents before the step, which are kept as
  /// they are; `embed` gives the tokens before the first block anew. Holds until the next call.
  const SeeBranch* see(const Step& step, const at::Tensor& x, std::function<at::Tensor()> embed);
  /// The run has made its last step. Throws std::runtime_error where a ratio of it is not finite.
  void end();

  /// Everything that a later process needs to go on before step `next` (its index in the schedule), under names fit for a
  /// safetensors file: "changes" float64 [steps, branches, 3], NaN where nothing was measured, and, where the next step is
  /// compared with the one before it, "x": the latents that this one began from.
  std::map<std::string, at::Tensor> save(int64_t next) const;
  /// Takes back what `save` gave, after begin(). Throws std::invalid_argument where it is of another run.
  void load(const std::map<std::string, at::Tensor>& state, int64_t next, at::Device device);
  /// A step that is to be computed once more, before the next one, since its residual is not there.
  struct Lost {
    Step step;
    at::Tensor x;
  };
  /// What `load` left of this kind; once.
  std::optional<Lost> take_lost() { return std::exchange(lost_, std::nullopt); }

  /// A whole run that another process measured, as `keep` had it.
  void add(const std::string& run, RunChanges changes) { runs_[run] = std::move(changes); }
  /// Whether a run of this name was measured to its end.
  bool knows(const std::string& run) const { return runs_.contains(run); }

  /// The means over all whole runs, for the steps of `schedule`. Throws std::runtime_error where a step that has one
  /// before it in its expert was never compared.
  std::vector<CalibratedStep> means(const Schedule& schedule) const;

 private:
  struct Before {
    int64_t step = -1;  // Step::index
    bool high = true;
    at::Tensor residual = {};
  };
  void compare(size_t branch, const at::Tensor& residual);

  /// Of the step before `next`; null where none was seen and none is lost.
  const at::Tensor* latents_before(int64_t next) const;

  const at::ScalarType dtype_;
  const Keep keep_;
  std::map<std::string, RunChanges> runs_;

  // Of the run that is under way.
  std::string run_;
  const Schedule* schedule_ = nullptr;
  RunChanges changes_;
  std::optional<Lost> now_, last_;  // the step that was seen last, and the one before it
  std::optional<Lost> lost_;
  std::function<at::Tensor()> embed_;
  std::array<Before, kBranches> before_;
  const SeeBranch see_ = [this](size_t branch, const at::Tensor& tokens) { compare(branch, tokens); };
};

/// A residual against an earlier one of the same shape [1, n, dim], over the tokens, in float32.
ResidualChange change_of(const at::Tensor& residual, const at::Tensor& before);

}  // namespace wan
