// The residual of the last computed forward of each guidance branch, kept as long as later steps reuse it.
// Source: MagCache (Ma et al. 2025, arXiv 2506.09045); which steps reuse it is known before (engine/request/step_reuse.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/log.h"
#include "engine/request/schedule.h"
#include "engine/request/step_reuse.h"
#include "models/wan/model.h"

namespace wan {

/// Indices of guidance branches, ascending.
using BranchList = std::vector<size_t>;

/// A forward of one step, as a guidance makes it.
struct StepForward {
  /// These branches through all blocks: a velocity of each, in their order. `ends` sees each before its head, with its
  /// place in the list.
  std::function<std::vector<at::Tensor>(const BranchList& branches, const SeeBranch* ends)> compute;
  /// The tokens before the first block [1, n, dim] float32, made anew: the caller may write to them.
  std::function<at::Tensor()> embed;
  /// Tokens behind the last block [1, n, dim] -> velocity.
  std::function<at::Tensor(const at::Tensor& tokens)> head;
};

class StepCache {
 public:
  /// `reuse` must outlive this. `dtype`: what a residual is kept in, that of the network's arithmetic. `label`: of the
  /// job, in the log.
  StepCache(const StepReuse& reuse, at::ScalarType dtype, Log log, std::string label = {})
      : reuse_(reuse), dtype_(dtype), log_(std::move(log)), label_(std::move(label)) {}

  /// Whether any step reuses anything; where not, a guidance needs no cache.
  bool is_on() const { return reuse_.is_on(); }

  /// The velocities of a step's branches, of which there are `count`. One that the plan reuses is the head of fresh
  /// tokens plus the kept residual; where that is not finite, the branch is computed and the log says so. Of those that
  /// are computed the residual is kept where the next step reuses it. x [16, T, h, w]: the latents before the step.
  std::vector<at::Tensor> velocities(const Step& step, const at::Tensor& x, size_t count, const StepForward& forward);

  /// Everything that a later process needs to reuse from step `next` (its index in `schedule`) on, under names fit for a
  /// safetensors file: of each step whose residual it needs the latents "x.N" and "steps" int64 [n, 3]: index of the
  /// step in `schedule`, bits of the branches that were computed together, bits of those that are needed. Nothing where
  /// the next step reuses nothing.
  std::map<std::string, at::Tensor> save(const Schedule& schedule, int64_t next) const;
  /// Takes back what `save` gave. Throws std::invalid_argument where it is of another run.
  void load(const std::map<std::string, at::Tensor>& state, const Schedule& schedule, at::Device device);

  /// A computed step whose residual is needed and is not there.
  struct Lost {
    Step step;
    at::Tensor x;
    BranchList computed, needed;
  };
  /// What `load` left to be computed again, in the order of the steps; once.
  std::vector<Lost> take_lost() { return std::exchange(lost_, {}); }
  /// Computes the same branches as then, which gives the same bits, and keeps those that are needed.
  void restore(const Lost& lost, const StepForward& forward);

  /// What is kept of a branch, [1, n, dim]; undefined where nothing is. For tests.
  at::Tensor& kept(size_t branch) { return kept_.at(branch).residual; }

 private:
  struct Kept {
    at::Tensor residual = {};
    at::Tensor x = {};         // the latents before the step that gave it
    int64_t step = -1;         // Step::index of that
    BranchList computed = {};  // what was computed with it
  };

  bool reuses(int64_t index, size_t branch) const { return reuse_.reuses(index, branch); }
  at::Tensor reused(const Step& step, size_t branch, const StepForward& forward) const;
  std::vector<at::Tensor> compute(const Step& step, const at::Tensor& x, const BranchList& branches,
                                  const BranchList& keep, const StepForward& forward);

  const StepReuse& reuse_;
  const at::ScalarType dtype_;
  const Log log_;
  const std::string label_;
  std::array<Kept, kBranches> kept_;
  std::vector<Lost> lost_;
};

/// What is reused, before the first step. Nothing with acceleration none.
void log_reuse(const StepReuse& reuse, const ReuseBounds& bounds, const Log& log);

}  // namespace wan
