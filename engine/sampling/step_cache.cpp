#include "engine/sampling/step_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "models/wan/residual.h"

namespace wan {

namespace {

int64_t bits_of(const BranchList& branches) {
  int64_t bits = 0;
  for (size_t branch : branches) bits |= int64_t(1) << branch;
  return bits;
}

BranchList branches_of(int64_t bits) {
  BranchList branches;
  for (size_t branch = 0; branch < kBranches; ++branch)
    if (bits >> branch & 1) branches.push_back(branch);
  return branches;
}

bool holds(const BranchList& branches, size_t branch) {
  return std::ranges::count(branches, branch) > 0;
}

[[noreturn]] void refuse() {
  throw std::invalid_argument("[step cache] the saved state does not belong to this run");
}

}  // namespace

at::Tensor StepCache::reused(const Step& step, size_t branch, const StepForward& forward) const {
  const at::Tensor velocity = forward.head(with_residual(forward.embed(), kept_[branch].residual));
  if (velocity.isfinite().all().item<bool>()) return velocity;
  Log::Fields fields = {{"text", "the residual that is kept of step " + std::to_string(kept_[branch].step + 1) + " (" +
                                     branch_name(branch) + " branch) holds NaN or Inf: step " +
                                     std::to_string(step.index + 1) + " is computed instead of reusing it"}};
  if (!label_.empty()) fields["job"] = label_;
  log_("warning", fields);
  return {};
}

std::vector<at::Tensor> StepCache::compute(const Step& step, const at::Tensor& x, const BranchList& branches,
                                           const BranchList& keep, const StepForward& forward) {
  for (size_t branch : branches) kept_[branch] = {};
  const SeeBranch ends = [&](size_t place, const at::Tensor& tokens) {
    const size_t branch = branches.at(place);
    if (holds(keep, branch)) kept_[branch] = {residual_of(tokens, forward.embed(), dtype_), x, step.index, branches};
  };
  return forward.compute(branches, keep.empty() ? nullptr : &ends);
}

std::vector<at::Tensor> StepCache::velocities(const Step& step, const at::Tensor& x, size_t count,
                                              const StepForward& forward) {
  // What no step needs any more goes before the blocks run, so that it takes no memory beside them.
  for (size_t branch = 0; branch < kBranches; ++branch)
    if (!reuses(step.index, branch)) kept_[branch] = {};
  std::vector<at::Tensor> found(count);
  BranchList left, keep;
  for (size_t branch = 0; branch < count; ++branch) {
    if (reuses(step.index, branch) && kept_[branch].residual.defined()) found[branch] = reused(step, branch, forward);
    if (found[branch].defined()) continue;
    left.push_back(branch);
    if (reuses(step.index + 1, branch)) keep.push_back(branch);
  }
  if (left.empty()) return found;
  const std::vector<at::Tensor> computed = compute(step, x, left, keep, forward);
  for (size_t place = 0; place < left.size(); ++place) found[left[place]] = computed[place];
  return found;
}

void StepCache::restore(const Lost& lost, const StepForward& forward) {
  compute(lost.step, lost.x, lost.computed, lost.needed, forward);
}

// A run is also interrupted within a step: then some branch may hold what this very step has computed, which a later
// process computes again.
std::map<std::string, at::Tensor> StepCache::save(const Schedule& schedule, int64_t next) const {
  if (next >= schedule.size()) return {};
  std::vector<Lost> needed = lost_;  // of a run that has made no step yet
  for (size_t branch = 0; branch < kBranches; ++branch) {
    const Kept& kept = kept_[branch];
    if (!kept.residual.defined() || !reuses(schedule[next].index, branch) || kept.step >= schedule[next].index)
      continue;
    const auto is_same = [&](const Lost& other) {
      return other.step.index == kept.step && other.computed == kept.computed;
    };
    const auto same = std::ranges::find_if(needed, is_same);
    if (same != needed.end())
      same->needed.push_back(branch);
    else
      needed.push_back({schedule[kept.step - schedule[0].index], kept.x, kept.computed, {branch}});
  }
  if (needed.empty()) return {};
  std::map<std::string, at::Tensor> state;
  std::vector<int64_t> numbers;
  for (const Lost& one : needed) {
    state["x." + std::to_string(numbers.size() / 3)] = one.x;
    for (int64_t number : {one.step.index - schedule[0].index, bits_of(one.computed), bits_of(one.needed)})
      numbers.push_back(number);
  }
  state["steps"] = at::tensor(numbers, at::kLong).view({-1, 3});
  return state;
}

void StepCache::load(const std::map<std::string, at::Tensor>& state, const Schedule& schedule, at::Device device) {
  if (state.empty()) return;
  const auto steps = state.find("steps");
  if (steps == state.end() || steps->second.scalar_type() != at::kLong || steps->second.dim() != 2 ||
      steps->second.size(0) > int64_t(kBranches) || steps->second.size(1) != 3)
    refuse();
  const at::Tensor numbers = steps->second.to(at::kCPU);
  constexpr int64_t kAll = (1 << kBranches) - 1;
  for (int64_t i = 0; i < numbers.size(0); ++i) {
    const int64_t index = numbers[i][0].item<int64_t>(), computed = numbers[i][1].item<int64_t>(),
                  needed = numbers[i][2].item<int64_t>();
    const auto x = state.find("x." + std::to_string(i));
    const bool good = index >= 0 && index < schedule.size() && computed > 0 && computed <= kAll && needed > 0 &&
                      (needed & ~computed) == 0 && x != state.end() && x->second.dim() == 4;
    if (!good) refuse();
    lost_.push_back({schedule[index], x->second.to(device, at::kFloat), branches_of(computed), branches_of(needed)});
  }
  std::ranges::sort(lost_, {}, [](const Lost& one) { return one.step.index; });
}

void log_reuse(const StepReuse& reuse, const ReuseBounds& bounds, const Log& log) {
  if (!reuse.is_on()) return;
  log("acceleration", {{"reused_forwards", reuse.reused()},
                       {"forwards", reuse.forwards()},
                       {"bound", bounds.error},
                       {"most_in_a_row", bounds.in_a_row},
                       {"ratios", reuse.ratios}});
}

}  // namespace wan
