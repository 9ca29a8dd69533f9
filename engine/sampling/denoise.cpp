#include "engine/sampling/denoise.h"

#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "kernels/op/device_failure.h"
#include "kernels/op/range.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

const std::string kSolver = "solver.", kCache = "cache.";  // how names of a saved run begin

void check_finite(const at::Tensor& x, const Step& step, int64_t position, int64_t steps) {
  if (x.isfinite().all().item<bool>()) return;
  throw NotFinite("[denoise] step " + std::to_string(position + 1) + " of " + std::to_string(steps) +
                  " (t = " + std::to_string(step.t) + ", " + (step.high ? "high" : "low") +
                  "-noise expert) gave NaN or Inf; the checkpoint may be damaged (wan-infer inspect --verify "
                  "DIR compares checksums), or in bf16 try --dtype float32");
}

}  // namespace

Sampling begin_sampling(const Schedule& schedule, at::Tensor x, std::optional<FreshNoise> noise) {
  return {.x = std::move(x), .solver = Solver(schedule.solver(), schedule.sigmas(), 0, noise)};
}

void save_sampling(const std::filesystem::path& path, const Sampling& state,
                   const std::map<std::string, std::string>& metadata) {
  std::map<std::string, at::Tensor> tensors = {{"x", state.x}};
  for (const auto& [name, tensor] : state.solver.save()) tensors[kSolver + name] = tensor;
  for (const auto& [name, tensor] : state.cache) tensors[kCache + name] = tensor;
  write_with_digest(path, tensors, metadata);
}

int64_t saved_step(const std::filesystem::path& path) {
  const Checkpoint file = Checkpoint::open(path);
  const auto state = file.tensors().find("solver.state");
  if (state == file.tensors().end()) throw ModelError(path.string(), "must hold a saved run, has no solver.state");
  const at::Tensor numbers = file.map("solver.state");
  if (numbers.scalar_type() != at::kLong || numbers.numel() < 1)
    throw ModelError(path.string(), "must hold a saved run, its solver.state is another");
  return numbers.flatten()[0].item<int64_t>();
}

Sampling load_sampling(const std::filesystem::path& path, const Schedule& schedule, at::Device device,
                       std::optional<FreshNoise> noise) {
  Checkpoint file = Checkpoint::open(path);
  Sampling state = begin_sampling(schedule, file.map("x").to(device, at::kFloat, false, true), noise);
  std::map<std::string, at::Tensor> solver_state;
  for (const auto& [name, stored] : file.tensors()) {
    if (name.starts_with(kSolver)) solver_state[name.substr(kSolver.size())] = file.map(name).clone();
    if (name.starts_with(kCache)) state.cache[name.substr(kCache.size())] = file.map(name).clone();
  }
  state.solver.load(solver_state, device);
  return state;
}

void denoise(Sampling& state, const Schedule& schedule, int64_t end, const VelocityField& velocity, const Run& run,
             const AfterStep& after_step) {
  const kernels::Range phase(kernels::RangeKind::Phase, "denoise");
  while (state.next() < end) {
    const int64_t position = state.next();
    const Step& step = schedule[position];
    const kernels::Range range(kernels::RangeKind::Step, step.high ? "high-noise step" : "low-noise step", position);
    Report report{Stage::Denoise, position, schedule.size(), step.high ? "high" : "low", run.label};
    if (!run.shares.empty()) report.share = run.shares.at(size_t(position));
    run.progress.at(report);
    at::Tensor estimate;
    state.x = state.solver.step(velocity(step, state.x), state.x, run.kernels, run.on_estimate ? &estimate : nullptr);
    check_finite(state.x, step, position, schedule.size());
    if (run.on_estimate) run.on_estimate(estimate, position);
    if (after_step) after_step(state);
  }
}

void denoise_and_save(Sampling& state, const Schedule& schedule, int64_t end, const VelocityField& velocity,
                      const Run& run, const AfterStep& save) {
  using Clock = std::chrono::steady_clock;
  int64_t saved = state.next();
  auto saved_at = Clock::now(), step_start = saved_at;
  auto save_now = [&] {
    if (state.next() == saved) return;
    save(state);
    saved = state.next();
    saved_at = Clock::now();
  };
  auto after_step = [&](const Sampling&) {
    const auto now = Clock::now(), after_next = now + (now - step_start);
    step_start = now;
    if (after_next - saved_at >= run.save_every) save_now();
  };
  // While a velocity is computed, the state stands between two steps.
  bool between = true;
  const VelocityField watched = [&](const Step& step, const at::Tensor& x) {
    between = true;
    Velocity found = velocity(step, x);
    between = false;
    return found;
  };
  try {
    denoise(state, schedule, end, watched, run, after_step);
  } catch (const Cancelled&) {
    save_now();
    throw;
  } catch (const c10::Error& error) {  // a device that is lost gives no state back
    if (between && kernels::device_failure(error) == kernels::DeviceFailure::Full) save_now();
    throw;
  }
}

}  // namespace wan
