#include "engine/request/calibration.h"

#include <algorithm>
#include <cmath>

namespace wan {

const char* branch_name(size_t branch) {
  return branch == kConditional ? "conditional" : "unconditional";
}

// A branch that the expert's steps did not have while they were measured is taken for like the other.
NormOverSigma::NormOverSigma(const Calibration& calibration, bool high, size_t branch) {
  const auto is_measured = [&](const CalibratedStep& step) { return step.high == high && step.changes[branch]; };
  if (std::none_of(calibration.steps.begin(), calibration.steps.end(), is_measured)) branch = kConditional;
  double log_norm = 0;
  for (const CalibratedStep& step : calibration.steps) {
    if (step.high != high) continue;
    if (const auto& change = step.changes[branch]) log_norm += std::log(change->ratio);
    points_.push_back({step.sigma, log_norm});
  }
}

std::optional<double> NormOverSigma::log_norm(double sigma) const {
  if (points_.size() < 2) return std::nullopt;
  // The first point below the level, but never the outermost one: beyond it its step goes on.
  const auto below =
      std::find_if(points_.begin() + 1, points_.end() - 1, [&](const Point& point) { return point.sigma <= sigma; });
  const Point &high = *(below - 1), &low = *below;
  const double width = high.sigma - low.sigma;
  if (sigma > high.sigma + width || sigma < low.sigma - width) return std::nullopt;
  return low.log_norm + (high.log_norm - low.log_norm) * (sigma - low.sigma) / width;
}

std::optional<double> NormOverSigma::ratio(double from, double to) const {
  const std::optional<double> before = log_norm(from), after = log_norm(to);
  if (!before || !after) return std::nullopt;
  return std::exp(*after - *before);
}

}  // namespace wan
