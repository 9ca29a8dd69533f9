#include "engine/request/step_reuse.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/request/lora_scales.h"
#include "engine/request/magcache_a14b.h"
#include "engine/request/params.h"
#include "engine/request/presets.h"
#include "models/files/error.h"

namespace wan {

namespace {

/// The first so many steps of an expert that makes `steps`: the share, rounded up, and at least one.
int64_t retained(double share, int64_t steps) {
  constexpr double kRounding = 1e-9;
  return std::max<int64_t>(1, int64_t(std::ceil(share * double(steps) - kRounding)));
}

/// Whether some LoRA has another scale than in the step before: the transformer is another one then.
bool changes_loras(const Request& request, const LoraScales& scales, const Step& before, const Step& step) {
  return std::ranges::any_of(
      request.loras, [&](const Lora& lora) { return scales.at(lora.scales, before) != scales.at(lora.scales, step); });
}

/// Steps that are computed in every branch: the first ones of each expert, its last one, and those in which LoRAs change.
std::vector<bool> computed_steps(const Request& request, const Schedule& schedule, const ReuseBounds& bounds) {
  const LoraScales scales(request);
  std::vector<bool> computed;
  int64_t own = 0;  // steps of the expert so far
  for (int64_t i = 0; i < schedule.size(); ++i) {
    const Step& step = schedule[i];
    own = i > 0 && schedule[i - 1].high == step.high ? own + 1 : 0;
    const auto is_own = [&](const Step& other) { return other.high == step.high; };
    const int64_t all = std::count_if(schedule.begin(), schedule.end(), is_own);
    const bool last = i + 1 == schedule.size() || schedule[i + 1].high != step.high;
    computed.push_back(own < retained(step.high ? bounds.retained_high : bounds.retained_low, all) || last ||
                       changes_loras(request, scales, schedule[i - 1], step));
  }
  return computed;
}

/// Whether each step has a level that was measured, in the same expert.
bool has_levels(const Calibration& calibration, const Schedule& schedule) {
  return std::ranges::all_of(schedule, [&](const Step& step) {
    return std::ranges::any_of(calibration.steps, [&](const CalibratedStep& one) {
      return one.sigma == double(step.sigma) && one.high == step.high;
    });
  });
}

/// Notes where the settings are others than those that were measured: the ratios are then mapped by noise level.
void note_settings(const Calibration& calibration, const Request& request, const Schedule& schedule, StepReuse& reuse) {
  if (calibration.networks.empty()) return;  // the published ones, whose mapping is the rule
  std::vector<std::string> others;
  const auto add = [&](const std::string& name, const std::string& had) { others.push_back(name + " " + had); };
  if (calibration.solver != request.solver) add("solver", shown_text(calibration.solver, 40));
  if (calibration.shift != request.shift && request.sigmas.empty()) add("shift", number_text(calibration.shift));
  if (calibration.boundary != request.boundary) add("boundary", number_text(calibration.boundary));
  if (others.empty() && !has_levels(calibration, schedule))
    add("the noise levels of", std::to_string(calibration.steps.size()) + " steps");
  if (others.empty()) return;
  std::string text = calibration.source + " was measured with ";
  for (size_t i = 0; i < others.size(); ++i) text += (i > 0 ? ", " : "") + others[i];
  reuse.notes.push_back({"calibration", text + ": its ratios are mapped by noise level",
                         "wan-infer calibrate with these settings measures them"});
}

/// Ends with all forwards computed.
StepReuse nothing(StepReuse reuse, const std::string& why, const std::string& way_out = "") {
  for (StepForwards& step : reuse.steps) step.reuses = {};
  reuse.nothing = why;
  reuse.way_out = way_out;
  return reuse;
}

StepReuse all_computed(const Request& request, const Schedule& schedule) {
  StepReuse reuse;
  reuse.first = schedule.empty() ? 0 : schedule[0].index;
  for (const Step& step : schedule) {
    StepForwards& forwards = reuse.steps.emplace_back();
    for (size_t branch = 0; branch < kBranches; ++branch) forwards.has[branch] = has_branch(request.task, step, branch);
  }
  return reuse;
}

}  // namespace

ReuseBounds reuse_bounds(Task task) {
  ReuseBounds bounds;
  if (task == Task::I2V) {
    bounds.retained_high = 1;
    bounds.retained_low = 0.1;
  }
  return bounds;
}

bool has_branch(Task task, const Step& step, size_t branch) {
  if (branch == kConditional) return true;
  return task == Task::S2V ? step.guidance > 1 : step.guidance != 1;
}

bool StepReuse::reuses(int64_t index, size_t branch) const {
  const int64_t at = index - first;
  return at >= 0 && at < int64_t(steps.size()) && steps[size_t(at)].reuses[branch];
}

int64_t StepReuse::forwards() const {
  int64_t count = 0;
  for (const StepForwards& step : steps) count += std::ranges::count(step.has, true);
  return count;
}

int64_t StepReuse::reused() const {
  int64_t count = 0;
  for (const StepForwards& step : steps) count += std::ranges::count(step.reuses, true);
  return count;
}

int64_t StepReuse::kept() const {
  int64_t most = 0;
  for (const StepForwards& step : steps) most = std::max<int64_t>(most, std::ranges::count(step.reuses, true));
  return most;
}

std::vector<int64_t> StepReuse::reused_steps(size_t branch) const {
  std::vector<int64_t> indices;
  for (size_t i = 0; i < steps.size(); ++i)
    if (steps[i].reuses[branch]) indices.push_back(first + int64_t(i));
  return indices;
}

std::vector<double> StepReuse::shares() const {
  if (std::ranges::adjacent_find(steps, std::ranges::not_equal_to()) == steps.end()) return {};
  std::vector<double> shares;
  const double all = double(forwards() - reused());
  double before = 0;
  for (const StepForwards& step : steps) {
    shares.push_back(before / all);
    before += double(std::ranges::count(step.has, true) - std::ranges::count(step.reuses, true));
  }
  return shares;
}

StepReuse reuse_by(const Calibration& calibration, const ReuseBounds& bounds, const Request& request,
                   const Schedule& schedule) {
  check_task(calibration, request.task);
  StepReuse reuse = all_computed(request, schedule);
  reuse.ratios = calibration.source;
  note_settings(calibration, request, schedule, reuse);
  const std::vector<bool> computed = computed_steps(request, schedule, bounds);
  for (size_t branch = 0; branch < kBranches; ++branch) {
    const NormOverSigma high(calibration, true, branch), low(calibration, false, branch);
    double product = 1, error = 0;
    int64_t in_a_row = 0;
    for (int64_t i = 0; i < schedule.size(); ++i) {
      StepForwards& step = reuse.steps[size_t(i)];
      std::optional<double> ratio;
      // A branch that the step before did not have leaves nothing to reuse.
      if (!computed[size_t(i)] && step.has[branch] && reuse.steps[size_t(i - 1)].has[branch])
        ratio = (schedule[i].high ? high : low).ratio(schedule[i - 1].sigma, schedule[i].sigma);
      if (ratio) {
        product *= *ratio;
        error += std::abs(1 - product);
        ++in_a_row;
      }
      step.reuses[branch] = ratio && error < bounds.error && in_a_row <= bounds.in_a_row;
      if (!step.reuses[branch]) product = 1, error = 0, in_a_row = 0;
    }
  }
  return reuse;
}

StepReuse step_reuse(const Request& request, const Schedule& schedule, const ReuseModel& model) {
  StepReuse reuse = all_computed(request, schedule);
  if (request.acceleration != "regular" || schedule.empty()) return reuse;
  const Preset* const preset = find_preset(request.preset);
  if (schedule.size() <= kFewStepsComputed)
    return nothing(reuse, "the run makes " + std::to_string(schedule.size()) + " steps, and in " +
                              std::to_string(kFewStepsComputed) + " and fewer they are too far apart");
  if (model.distilled || (preset && preset->few_steps()))
    return nothing(reuse, "the model is distilled to few steps, of which each changes much");
  const std::string measured = std::string("wan-infer calibrate ") + task_name(request.task) +
                               " measures them, and --calibration FILE takes them";
  const Calibration* const published = magcache_a14b(request.task);
  if (request.calibration.empty() && !published)
    return nothing(reuse, "no ratios are published for this task", measured);
  if (request.calibration.empty() && !model.published)
    return nothing(reuse, "no ratios are published for a transformer of this size", measured);
  reuse = reuse_by(request.calibration.empty() ? *published : read_calibration(request.calibration),
                   reuse_bounds(request.task), request, schedule);
  return reuse.is_on() ? reuse : nothing(reuse, "no step changes so little that the bound allows it");
}

}  // namespace wan
