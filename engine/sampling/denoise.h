// The loop of denoising steps. Whose velocity it follows is the caller's: experts with guidance, or the speech model.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "engine/base/progress.h"
#include "engine/request/schedule.h"
#include "engine/sampling/noise.h"
#include "engine/sampling/solver.h"

namespace wan {

/// A sampling run between two steps: all that is needed to go on, here or after a restart.
struct Sampling {
  at::Tensor x;   // [16, T, h, w] float32 at the noise level of the next step
  Solver solver;  // knows which step is next

  int64_t next() const { return solver.index(); }
};

/// A run that starts at the first step of `schedule` (which video to video has cut) from `x`.
Sampling begin_sampling(const std::string& solver, const std::vector<Step>& schedule, at::Tensor x);

/// Saves a run to a safetensors file with `metadata`, written beside and renamed, and reads it back onto `device`.
/// Throws ModelError where the file is damaged, std::invalid_argument where it belongs to another schedule.
void save_sampling(const std::filesystem::path& path, const Sampling& state,
                   const std::map<std::string, std::string>& metadata = {});
Sampling load_sampling(const std::filesystem::path& path, const std::string& solver, const std::vector<Step>& schedule,
                       at::Device device);

/// (step, x) -> velocity, of x's shape: of each branch of guidance, which the solver combines.
using VelocityField = std::function<Velocity(const Step&, const at::Tensor& x)>;
using AfterStep = std::function<void(const Sampling&)>;

/// Makes the steps up to `end` (an index into `schedule`). Progress is asked before each step and may throw Cancelled;
/// the state then stands between two steps. Throws std::runtime_error naming step and expert where NaN or Inf comes.
void denoise(Sampling& state, const std::vector<Step>& schedule, int64_t end, const VelocityField& velocity,
             Progress& progress, const std::string& job = "", const AfterStep& after_step = {});

/// How a run's state outlives the process: `save` is called where the next step would end more than `every` after the
/// last call, and where the run is interrupted.
struct Keeping {
  std::chrono::milliseconds every;
  std::function<void(const Sampling&)> save;
};

/// denoise() that keeps its state, where steps were made since it was kept last.
void denoise(Sampling& state, const std::vector<Step>& schedule, int64_t end, const VelocityField& velocity,
             Progress& progress, const std::string& job, const Keeping& keeping);

/// The first index at which the low-noise expert works: where the two phases of a batch part.
int64_t first_low_step(const std::vector<Step>& schedule);

}  // namespace wan
