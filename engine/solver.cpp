#include "engine/solver.h"

#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

#include "kernels/combine.h"

namespace wan {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("[solver] " + what);
}

}  // namespace

Solver::Solver(std::string_view kind, std::vector<float> sigmas, int64_t start)
    : sigmas_(std::move(sigmas)), index_(start) {
  if (kind == "unipc")
    kind_ = Kind::UniPc;
  else if (kind == "dpm++")
    kind_ = Kind::DpmPlusPlus;
  else if (kind == "euler")
    kind_ = Kind::Euler;
  else
    refuse("must be unipc, dpm++ or euler, got " + std::string(kind));
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

at::Tensor Solver::step(const at::Tensor& velocity, const at::Tensor& x) {
  TORCH_CHECK(index_ < steps(), "[solver] all ", steps(), " steps are done");
  TORCH_CHECK(velocity.sizes() == x.sizes(), "[solver] the velocity must be ", x.sizes(), ", got ", velocity.sizes());
  if (kind_ == Kind::Euler) {
    at::Tensor next = at::add(x, velocity, sigma(index_ + 1) - sigma(index_));
    ++index_;
    return next;
  }
  // The prediction comes from x as it was given, and stays so in the history; the correction changes x alone.
  at::Tensor newest = at::sub(x, velocity, sigma(index_));
  bool correctable = kind_ == Kind::UniPc && !x0_.empty() && falls(index_ - 1);
  sample_ = correctable ? correct(newest) : x;
  x0_.insert(x0_.begin(), newest);
  if (x0_.size() > 2) x0_.pop_back();
  bool last = index_ == steps() - 1;
  // Equal neighbours (float32 runs out at extreme shifts) leave nothing to extrapolate from.
  order_ = last || x0_.size() < 2 || !falls(index_ - 1) ? 1 : 2;
  at::Tensor next = falls(index_) ? predict(sample_) : sample_.clone();
  ++index_;
  return next;
}

at::Tensor Solver::predict(const at::Tensor& x) const {
  const int64_t i = index_;
  const double h = lambda(i + 1) - lambda(i), ab = alpha(i + 1) * std::expm1(-h), keep = sigma(i + 1) / sigma(i);
  if (order_ == 1) return kernels::weighted_sum({{keep, x}, {-ab, x0_[0]}});
  // r is +infinity after a step from sigma 1: the second term vanishes.
  const double r = (lambda(i) - lambda(i - 1)) / h, slope = 0.5 * ab / r;
  return kernels::weighted_sum({{keep, x}, {-ab - slope, x0_[0]}, {slope, x0_[1]}});
}

at::Tensor Solver::correct(const at::Tensor& newest) const {
  const int64_t i = index_;
  const double h = lambda(i) - lambda(i - 1), b = std::expm1(-h), ab = alpha(i) * b, keep = sigma(i) / sigma(i - 1);
  if (order_ == 1) return kernels::weighted_sum({{keep, sample_}, {-0.5 * ab, x0_[0]}, {-0.5 * ab, newest}});
  // p + q = f / b and r p + q = 2 g / b, solved by hand: r is -infinity after a step from sigma 1, and p / r then zero.
  const double r = (lambda(i - 2) - lambda(i - 1)) / h, f = b / -h - 1, g = f / -h - 0.5;
  const double p = (2 * g - f) / b / (r - 1), q = f / b - p;
  return kernels::weighted_sum(
      {{keep, sample_}, {-ab * (1 - p / r - q), x0_[0]}, {-ab * p / r, x0_[1]}, {-ab * q, newest}});
}

std::map<std::string, at::Tensor> Solver::save() const {
  std::map<std::string, at::Tensor> state{{"state", at::tensor({index_, order_}, at::kLong)}};
  if (sample_.defined()) state["sample"] = sample_;
  for (size_t i = 0; i < x0_.size(); ++i) state["x0." + std::to_string(i)] = x0_[i];
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
  std::vector<at::Tensor> history;
  for (const char* name : {"x0.0", "x0.1"})
    if (find(name).defined()) history.push_back(find(name).to(device));
  at::Tensor sample = find("sample");
  bool fits = index >= 0 && index <= steps() && order >= 0 && order <= int64_t(history.size()) &&
              int64_t(history.size()) <= index && sample.defined() == !history.empty();
  for (const at::Tensor& x0 : history) fits = fits && x0.sizes() == sample.sizes();
  if (!fits) refuse("the saved state does not belong to a run of " + std::to_string(steps()) + " steps");
  index_ = index;
  order_ = order;
  x0_ = std::move(history);
  sample_ = sample.defined() ? sample.to(device) : sample;
}

}  // namespace wan
