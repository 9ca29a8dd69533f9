#include "engine/sampling/residual_meter.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "models/wan/residual.h"

namespace wan {

namespace {

/// Tokens that are compared at a time: their values in float32 are some 170 MB at full width.
constexpr int64_t kTokens = 4096;
constexpr double kSmallest = 1e-8;
/// Of a saved run. Of a change its ratio, deviation and cosine distance.
constexpr const char *kChanges = "changes", *kLatents = "x";
constexpr int64_t kFigures = 3;

/// As many digits as a mean over some videos has meaning, so that files are easy to read.
double rounded(double value) {
  constexpr double kDigits = 1e6;
  return std::round(value * kDigits) / kDigits;
}

}  // namespace

ResidualChange change_of(const at::Tensor& residual, const at::Tensor& before) {
  std::vector<at::Tensor> ratios, cosines;
  for (int64_t start = 0; start < residual.size(1); start += kTokens) {
    const int64_t count = std::min(kTokens, residual.size(1) - start);
    const at::Tensor now = residual[0].narrow(0, start, count).to(at::kFloat),
                     then = before[0].narrow(0, start, count).to(at::kFloat);
    const at::Tensor now_norm = now.norm(2, -1), then_norm = then.norm(2, -1);
    ratios.push_back(now_norm / then_norm);
    cosines.push_back((now * then).sum(-1) / (now_norm * then_norm).clamp_min(kSmallest));
  }
  const at::Tensor ratio = at::cat(ratios).to(at::kDouble), cosine = at::cat(cosines).to(at::kDouble);
  return {.ratio = ratio.mean().item<double>(),
          .deviation = ratio.numel() > 1 ? ratio.std().item<double>() : 0,
          .cosine_distance = 1 - cosine.mean().item<double>()};
}

void ResidualMeter::begin(std::string run, const Schedule& schedule) {
  run_ = std::move(run);
  schedule_ = &schedule;
  changes_.assign(size_t(schedule.size()), {});
  now_.reset();
  last_.reset();
  lost_.reset();
  before_ = {};
}

const SeeBranch* ResidualMeter::see(const Step& step, const at::Tensor& x, std::function<at::Tensor()> embed) {
  if (!now_ || now_->step.index != step.index) last_ = std::exchange(now_, Lost{step, x});
  embed_ = std::move(embed);
  return &see_;
}

void ResidualMeter::compare(size_t branch, const at::Tensor& tokens) {
  const Step& step = now_->step;
  const at::Tensor residual = residual_of(tokens, embed_(), dtype_);
  Before& before = before_.at(branch);
  if (before.residual.defined() && before.high == step.high && before.step + 1 == step.index)
    changes_.at(size_t(step.index - (*schedule_)[0].index)).at(branch) = change_of(residual, before.residual);
  before = {step.index, step.high, residual};
}

void ResidualMeter::end() {
  for (size_t i = 0; i < changes_.size(); ++i)
    for (const std::optional<ResidualChange>& change : changes_[i])
      if (change && !(std::isfinite(change->ratio) && std::isfinite(change->deviation)))
        throw std::runtime_error("[calibrate] the residual of step " + std::to_string((*schedule_)[int64_t(i)].index) +
                                 " has tokens of norm 0 or NaN, so that no ratio can be told");
  if (keep_) keep_(run_, changes_);
  runs_[run_] = std::move(changes_);
  begin("", *schedule_);  // what was kept takes no memory any more
}

const at::Tensor* ResidualMeter::latents_before(int64_t next) const {
  const int64_t wanted = (*schedule_)[next - 1].index;
  for (const std::optional<Lost>* seen : {&now_, &last_, &lost_})
    if (*seen && (*seen)->step.index == wanted) return &(*seen)->x;
  return nullptr;
}

std::map<std::string, at::Tensor> ResidualMeter::save(int64_t next) const {
  at::Tensor changes = at::full({schedule_->size(), int64_t(kBranches), kFigures}, NAN, at::kDouble);
  double* figures = changes.mutable_data_ptr<double>();
  for (const auto& step : changes_)
    for (const std::optional<ResidualChange>& change : step) {
      if (change) {
        figures[0] = change->ratio;
        figures[1] = change->deviation;
        figures[2] = change->cosine_distance;
      }
      figures += kFigures;
    }
  std::map<std::string, at::Tensor> state = {{kChanges, changes}};
  const bool is_compared =
      next > 0 && next < schedule_->size() && (*schedule_)[next].high == (*schedule_)[next - 1].high;
  if (const at::Tensor* x = is_compared ? latents_before(next) : nullptr) state[kLatents] = *x;
  return state;
}

void ResidualMeter::load(const std::map<std::string, at::Tensor>& state, int64_t next, at::Device device) {
  const auto changes = state.find(kChanges), x = state.find(kLatents);
  const bool good = changes != state.end() && changes->second.scalar_type() == at::kDouble &&
                    changes->second.sizes() == at::IntArrayRef({schedule_->size(), int64_t(kBranches), kFigures}) &&
                    (x == state.end() || (next > 0 && next < schedule_->size() && x->second.dim() == 4));
  if (!good) throw std::invalid_argument("[calibrate] the saved state does not belong to this run");
  const at::Tensor own = changes->second.to(at::kCPU).contiguous();
  const double* figures = own.const_data_ptr<double>();
  for (auto& step : changes_)
    for (std::optional<ResidualChange>& change : step) {
      if (!std::isnan(figures[0])) change = ResidualChange{figures[0], figures[1], figures[2]};
      figures += kFigures;
    }
  if (x != state.end()) lost_ = Lost{(*schedule_)[next - 1], x->second.to(device, at::kFloat)};
}

std::vector<CalibratedStep> ResidualMeter::means(const Schedule& schedule) const {
  std::vector<CalibratedStep> steps;
  for (int64_t i = 0; i < schedule.size(); ++i) {
    const Step& step = schedule[i];
    CalibratedStep& made = steps.emplace_back(CalibratedStep{.sigma = double(step.sigma), .high = step.high});
    const bool compared = i > 0 && schedule[i - 1].high == step.high;
    for (size_t branch = 0; branch < kBranches && compared; ++branch) {
      ResidualChange sum = {0, 0, 0};
      double count = 0;
      for (const auto& [name, changes] : runs_) {
        const auto& change = size_t(i) < changes.size() ? changes[size_t(i)][branch] : std::nullopt;
        if (!change) continue;
        sum.ratio += change->ratio;
        sum.deviation += change->deviation;
        sum.cosine_distance += change->cosine_distance;
        ++count;
      }
      if (count > 0)
        made.changes[branch] = ResidualChange{rounded(sum.ratio / count), rounded(sum.deviation / count),
                                              rounded(sum.cosine_distance / count)};
      else if (branch == kConditional)  // the other one is absent in a run without guidance
        throw std::runtime_error("[calibrate] step " + std::to_string(step.index + 1) + " was never measured");
    }
  }
  return steps;
}

}  // namespace wan
