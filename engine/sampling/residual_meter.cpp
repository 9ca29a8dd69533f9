#include "engine/sampling/residual_meter.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/wan/residual.h"

namespace wan {

namespace {

/// Tokens that are compared at a time: their values in float32 are some 170 MB at full width.
constexpr int64_t kTokens = 4096;
constexpr double kSmallest = 1e-8;

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

const SeeBranch* ResidualMeter::see(const Step& step, std::function<at::Tensor()> embed) {
  step_ = step;
  embed_ = std::move(embed);
  return &see_;
}

void ResidualMeter::compare(size_t branch, const at::Tensor& tokens) {
  const at::Tensor residual = residual_of(tokens, embed_(), dtype_);
  Before& before = before_.at(branch);
  if (before.residual.defined() && before.high == step_.high && before.step + 1 == step_.index) {
    const ResidualChange change = change_of(residual, before.residual);
    auto& [sum, count] = sums_[step_.index][branch];
    sum.ratio += change.ratio;
    sum.deviation += change.deviation;
    sum.cosine_distance += change.cosine_distance;
    ++count;
  }
  before = {step_.index, step_.high, residual};
}

std::vector<CalibratedStep> ResidualMeter::means(const Schedule& schedule) const {
  std::vector<CalibratedStep> steps;
  const Step* before = nullptr;
  for (const Step& step : schedule) {
    CalibratedStep& made = steps.emplace_back(CalibratedStep{.sigma = double(step.sigma), .high = step.high});
    const bool compared = before && before->high == step.high;
    before = &step;
    const auto found = sums_.find(step.index);
    for (size_t branch = 0; branch < kBranches && compared; ++branch) {
      const Sum* sum = found == sums_.end() ? nullptr : &found->second[branch];
      if (!sum || sum->count == 0) {
        if (branch == kUnconditional) continue;  // a run without guidance
        throw std::runtime_error("[calibrate] step " + std::to_string(step.index + 1) + " was never measured");
      }
      const double count = double(sum->count);
      made.changes[branch] = ResidualChange{rounded(sum->sum.ratio / count), rounded(sum->sum.deviation / count),
                                            rounded(sum->sum.cosine_distance / count)};
      if (!std::isfinite(made.changes[branch]->ratio) || !std::isfinite(made.changes[branch]->deviation))
        throw std::runtime_error("[calibrate] the residual of step " + std::to_string(step.index) +
                                 " has tokens of norm 0 or NaN, so that no ratio can be told");
    }
  }
  return steps;
}

}  // namespace wan
