#include "engine/sampling/solver.h"

#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

#include "engine/sampling/noise.h"

namespace wan {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("[solver] " + what);
}

/// SplitMix64 (Steele, Lea and Flood 2014) of the sum: neighbouring seeds and steps give unrelated ones.
uint64_t mixed(uint64_t seed, uint64_t step) {
  uint64_t z = seed + (step + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

}  // namespace

at::Tensor FreshNoise::of_step(int64_t i, const at::Tensor& x) const {
  return Noise(mixed(seed, uint64_t(i)), device).draw(x.sizes()).to(x.device());
}

Solver::Solver(SolverKind kind, std::vector<float> sigmas, int64_t start, std::optional<FreshNoise> noise)
    : kind_(kind), sigmas_(std::move(sigmas)), noise_(noise), index_(start) {
  if (kind_ == SolverKind::StepDistill && !noise_) refuse("step_distill needs a seed for its noise");
  if (sigmas_.size() < 2) refuse("needs at least two sigmas, got " + std::to_string(sigmas_.size()));
  for (size_t i = 0; i < sigmas_.size(); ++i)
    if (!(sigmas_[i] >= 0 && sigmas_[i] <= 1) || (i > 0 && sigmas_[i] > sigmas_[i - 1]))
      refuse("sigmas must fall within 1 to 0, got " + std::to_string(sigmas_[i]) + " at " + std::to_string(i));
  if (start < 0 || start > steps())
    refuse("must start from 0 to " + std::to_string(steps()) + ", got " + std::to_string(start));
}

// -infinity at sigma 1, +infinity at sigma 0; the formulas below are arranged to survive both.
double Solver::lambda(int64_t i) const {
  return std::log(alpha(i)) - std::log(sigma(i));
}

at::Tensor Solver::step(const Velocity& velocity, const at::Tensor& x, const kernels::Context& context,
                        at::Tensor* estimate) {
  TORCH_CHECK(index_ < steps(), "[solver] all ", steps(), " steps are done");
  const int64_t i = index_;
  if (kind_ == SolverKind::Euler) {
    at::Tensor next = kernels::solver_step(velocity, x, {}, {.velocity = sigma(i + 1) - sigma(i)}, context).prediction;
    // The others have it anyway; here it is a pass of its own.
    if (estimate) *estimate = kernels::solver_step(velocity, x, {}, {.velocity = -sigma(i)}, context).prediction;
    ++index_;
    return next;
  }
  if (kind_ == SolverKind::StepDistill) {
    at::Tensor next = renoised(velocity, x, context, estimate);
    ++index_;
    return next;
  }
  // The prediction comes from x as it was given, and stays so in the history; the correction changes x alone.
  kernels::StepFactors factors{.velocity = -sigma(i)};
  // Equal neighbours (float32 runs out at extreme shifts) leave nothing to correct and nothing to extrapolate from.
  const bool fell = history_.newest.defined() && falls(i - 1), last = i == steps() - 1;
  const int64_t order = fell && !last ? 2 : 1;
  if (kind_ == SolverKind::UniPc && fell) factors.corrector = corrector();
  if (falls(i)) factors.predictor = predictor(order);
  const kernels::StepSums sums = kernels::solver_step(velocity, x, history_, factors, context);
  if (estimate) *estimate = sums.prediction;
  history_ = {factors.corrector ? sums.corrected : x, sums.prediction, history_.newest};
  order_ = order;
  ++index_;
  return factors.predictor ? sums.next : history_.sample.clone();
}

/// The noise stands where the last prediction does elsewhere, so that the step is one pass of the same operation.
at::Tensor Solver::renoised(const Velocity& velocity, const at::Tensor& x, const kernels::Context& context,
                            at::Tensor* estimate) const {
  const int64_t i = index_;
  kernels::StepFactors factors{.velocity = -sigma(i)};
  if (sigma(i + 1) == 0) {
    const at::Tensor clean = kernels::solver_step(velocity, x, {}, factors, context).prediction;
    if (estimate) *estimate = clean;
    return clean;
  }
  factors.predictor = {0, alpha(i + 1), sigma(i + 1)};
  const kernels::StepHistory noise{.sample = {}, .newest = noise_->of_step(i, x).to(x.scalar_type()), .older = {}};
  const kernels::StepSums sums = kernels::solver_step(velocity, x, noise, factors, context);
  if (estimate) *estimate = sums.prediction;
  return sums.next;
}

std::array<double, 3> Solver::predictor(int64_t order) const {
  const int64_t i = index_;
  const double h = lambda(i + 1) - lambda(i), ab = alpha(i + 1) * std::expm1(-h), keep = sigma(i + 1) / sigma(i);
  if (order == 1) return {keep, -ab, 0};
  // r is +infinity after a step from sigma 1: the last term vanishes.
  const double r = (lambda(i) - lambda(i - 1)) / h, slope = 0.5 * ab / r;
  return {keep, -ab - slope, slope};
}

std::array<double, 4> Solver::corrector() const {
  const int64_t i = index_;
  const double h = lambda(i) - lambda(i - 1), b = std::expm1(-h), ab = alpha(i) * b, keep = sigma(i) / sigma(i - 1);
  if (order_ == 1) return {keep, -0.5 * ab, 0, -0.5 * ab};
  // p + q = f / b and r p + q = 2 g / b, solved by hand: r is -infinity after a step from sigma 1, and p / r then zero.
  const double r = (lambda(i - 2) - lambda(i - 1)) / h, f = b / -h - 1, g = f / -h - 0.5;
  const double p = (2 * g - f) / b / (r - 1), q = f / b - p;
  return {keep, -ab * (1 - p / r - q), -ab * p / r, -ab * q};
}

std::map<std::string, at::Tensor> Solver::save() const {
  std::map<std::string, at::Tensor> state{{"state", at::tensor({index_, order_}, at::kLong)}};
  const auto& [sample, newest, older] = history_;
  if (sample.defined()) state["sample"] = sample;
  if (newest.defined()) state["x0.0"] = newest;
  if (older.defined()) state["x0.1"] = older;
  return state;
}

void Solver::load(const std::map<std::string, at::Tensor>& state, at::Device device) {
  auto find = [&](const std::string& name) {
    auto found = state.find(name);
    return found == state.end() ? at::Tensor() : found->second;
  };
  at::Tensor numbers = find("state");
  if (!numbers.defined() || numbers.scalar_type() != at::kLong || numbers.sizes() != at::IntArrayRef({2}))
    refuse("a saved state holds two integers, index and order");
  const int64_t index = numbers[0].item<int64_t>(), order = numbers[1].item<int64_t>();
  const at::Tensor sample = find("sample"), newest = find("x0.0"), older = find("x0.1");
  const int64_t predictions = newest.defined() + older.defined();
  bool fits = index >= 0 && index <= steps() && order >= 0 && order <= predictions && predictions <= index &&
              sample.defined() == newest.defined() && (newest.defined() || !older.defined());
  for (const at::Tensor& x0 : {newest, older}) fits = fits && (!x0.defined() || x0.sizes() == sample.sizes());
  if (!fits) refuse("the saved state does not belong to a run of " + std::to_string(steps()) + " steps");
  const auto placed = [&](const at::Tensor& x) { return x.defined() ? x.to(device) : x; };
  index_ = index;
  order_ = order;
  history_ = {placed(sample), placed(newest), placed(older)};
}

}  // namespace wan
