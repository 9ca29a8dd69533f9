#include "engine/sampling/denoise.h"

#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace {

std::vector<float> sigmas_of(const std::vector<Step>& schedule) {
  std::vector<float> sigmas;
  for (const Step& step : schedule) sigmas.push_back(step.sigma);
  sigmas.push_back(schedule.back().sigma_next);
  return sigmas;
}

void check_finite(const at::Tensor& x, const Step& step, int64_t position, size_t steps) {
  if (x.isfinite().all().item<bool>()) return;
  throw std::runtime_error("[denoise] step " + std::to_string(position + 1) + " of " + std::to_string(steps) +
                           " (t = " + std::to_string(step.t) + ", " + (step.high ? "high" : "low") +
                           "-noise expert) gave NaN or Inf; the checkpoint may be damaged, or try --dtype float32");
}

}  // namespace

Sampling begin_sampling(const std::string& solver, const std::vector<Step>& schedule, at::Tensor x) {
  return {std::move(x), Solver(solver, sigmas_of(schedule))};
}

void save_sampling(const std::filesystem::path& path, const Sampling& state,
                   const std::map<std::string, std::string>& metadata) {
  std::map<std::string, at::Tensor> tensors = {{"x", state.x}};
  for (const auto& [name, tensor] : state.solver.save()) tensors["solver." + name] = tensor;
  write_safetensors(path, tensors, metadata);
}

Sampling load_sampling(const std::filesystem::path& path, const std::string& solver, const std::vector<Step>& schedule,
                       at::Device device) {
  Checkpoint file = Checkpoint::open(path);
  Sampling state{file.map("x").to(device, at::kFloat, false, true), Solver(solver, sigmas_of(schedule))};
  std::map<std::string, at::Tensor> solver_state;
  for (const auto& [name, stored] : file.tensors())
    if (name.starts_with("solver.")) solver_state[name.substr(7)] = file.map(name).clone();
  state.solver.load(solver_state, device);
  return state;
}

void denoise(Sampling& state, const std::vector<Step>& schedule, int64_t end, const VelocityField& velocity,
             Progress& progress, const std::string& job, const AfterStep& after_step) {
  int64_t steps = int64_t(schedule.size());
  while (state.next() < end) {
    int64_t position = state.next();
    const Step& step = schedule[size_t(position)];
    progress.at({Stage::Denoise, position, steps, step.high ? "high" : "low", job});
    state.x = state.solver.step(velocity(step, state.x), state.x);
    check_finite(state.x, step, position, schedule.size());
    if (after_step) after_step(state);
  }
}

void denoise(Sampling& state, const std::vector<Step>& schedule, int64_t end, const VelocityField& velocity,
             Progress& progress, const std::string& job, const Keeping& keeping) {
  using Clock = std::chrono::steady_clock;
  int64_t kept = state.next();
  auto kept_at = Clock::now(), step_start = kept_at;
  auto keep = [&] {
    if (state.next() == kept) return;
    keeping.save(state);
    kept = state.next();
    kept_at = Clock::now();
  };
  auto after_step = [&](const Sampling&) {
    const auto now = Clock::now(), after_next = now + (now - step_start);
    step_start = now;
    if (after_next - kept_at >= keeping.every) keep();
  };
  try {
    denoise(state, schedule, end, velocity, progress, job, after_step);
  } catch (const Cancelled&) {
    keep();
    throw;
  }
}

int64_t first_low_step(const std::vector<Step>& schedule) {
  int64_t index = 0;
  while (index < int64_t(schedule.size()) && schedule[size_t(index)].high) ++index;
  return index;
}

}  // namespace wan
