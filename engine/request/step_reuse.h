// Which steps of a schedule compute their forwards and which reuse the residual of an earlier one, under --acceleration
// regular. A pure function of request, schedule and calibration, known before the first step. No tensors.
// Source of the rule: MagCache (Ma et al. 2025, arXiv 2506.09045) and MagCache4Wan2.2. docs/acceleration.md defines it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/note.h"
#include "engine/request/calibration.h"
#include "engine/request/schedule.h"

namespace wan {

/// What "regular" allows.
struct ReuseBounds {
  double error = 0.06;  // the sum over a run of reused steps of |1 - product of the ratios| stays below it
  int64_t in_a_row = 2;
  double retained_high = 0.4, retained_low = 0.4;  // share of an expert's steps, its first ones, that are computed
};
/// Of image to video the high-noise expert reuses nothing.
ReuseBounds reuse_bounds(Task task);

/// A run of at most so many steps reuses nothing: they are too far apart.
inline constexpr int64_t kFewStepsComputed = 8;

/// Whether a step has this branch: the conditional one always, the other where it guides.
bool has_branch(Task task, const Step& step, size_t branch);

/// The forwards of one step, by branch.
struct StepForwards {
  std::array<bool, kBranches> has = {}, reuses = {};
  bool operator==(const StepForwards&) const = default;
};

/// The forwards of a run.
struct StepReuse {
  std::vector<StepForwards> steps;  // of those that are made
  int64_t first = 0;                // Step::index of the first
  std::string ratios = {};          // Calibration::source; empty where nothing was looked up
  std::string nothing = {};         // why "regular" reuses nothing, as the end of a sentence; empty where it does
  std::string way_out = {};         // how to have it otherwise; may be empty
  std::vector<Note> notes = {};     // on a calibration of other settings

  /// Whether a branch of the step reuses what an earlier one computed. `index`: Step::index. False outside of the run.
  bool reuses(int64_t index, size_t branch) const;
  int64_t forwards() const;  // of all steps and branches
  int64_t reused() const;
  bool is_on() const { return reused() > 0; }
  /// How many residuals are kept at once at most.
  int64_t kept() const;
  /// The indices of steps in which a branch is reused.
  std::vector<int64_t> reused_steps(size_t branch) const;
  /// The share of the run's computed forwards that is done before each step; empty where all steps compute alike.
  std::vector<double> shares() const;
};

/// What of a model decides whether and by which ratios its steps are reused. Without a model a published one is assumed.
struct ReuseModel {
  bool distilled = false;  // to few steps
  bool published = true;   // a transformer of the size that has published ratios
};

/// With acceleration none, or where nothing is reused, all forwards are computed. Reads the calibration that the request
/// names. Throws InvalidRequest (field "calibration") where it cannot be read or is of another task.
StepReuse step_reuse(const Request& request, const Schedule& schedule, const ReuseModel& model = {});

/// The same rule by these ratios, whatever the number of steps.
StepReuse reuse_by(const Calibration& calibration, const ReuseBounds& bounds, const Request& request,
                   const Schedule& schedule);

}  // namespace wan
