// The loop of denoising steps; the caller supplies the velocity function: experts with guidance, or the speech model.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "engine/request/schedule.h"
#include "engine/residency/not_finite.h"
#include "engine/residency/run.h"
#include "engine/sampling/solver.h"

namespace wan {

/// A sampling run between two steps: all that is needed to go on, here or after a restart.
struct Sampling {
  at::Tensor x;   // [16, T, h, w] float32 at the noise level of the next step
  Solver solver;  // knows which step is next
  /// What else a saved run goes on from, under names of its own: a step cache's (StepCache::save). Only in what is saved
  /// and was loaded.
  std::map<std::string, at::Tensor> cache = {};

  int64_t next() const { return solver.index(); }
};

/// A run that starts at the first step of `schedule` (which video to video has cut) from `x`.
/// `noise`: of step_distill; other solvers need none.
Sampling begin_sampling(const Schedule& schedule, at::Tensor x, std::optional<FreshNoise> noise = {});

/// Saves a run to a safetensors file with `metadata`, written beside and renamed, and reads it back onto `device`.
/// Throws ModelError where the file is damaged, std::invalid_argument where it belongs to another schedule.
void save_sampling(const std::filesystem::path& path, const Sampling& state,
                   const std::map<std::string, std::string>& metadata = {});
/// The step that a saved run makes next, from 0, without its samples.
int64_t saved_step(const std::filesystem::path& path);
Sampling load_sampling(const std::filesystem::path& path, const Schedule& schedule, at::Device device,
                       std::optional<FreshNoise> noise = {});

/// (step, x) -> velocity, of x's shape: of each branch of guidance, which the solver combines.
using VelocityField = std::function<Velocity(const Step&, const at::Tensor& x)>;
using AfterStep = std::function<void(const Sampling&)>;

/// Makes the steps up to `end` (an index into `schedule`). Progress is asked before each step and may throw Cancelled;
/// the state then stands between two steps. Run::on_estimate is told of each, with its index. Throws NotFinite, whose text names step and expert.
void denoise(Sampling& state, const Schedule& schedule, int64_t end, const VelocityField& velocity, const Run& run,
             const AfterStep& after_step = {});

/// The same, and the state outlives the process: `save` is called where the next step would end more than
/// `run.save_every` after the last call, and where the run is interrupted or a velocity ends in c10::OutOfMemoryError,
/// unless no step was made since.
void denoise_and_save(Sampling& state, const Schedule& schedule, int64_t end, const VelocityField& velocity,
                      const Run& run, const AfterStep& save);

}  // namespace wan
