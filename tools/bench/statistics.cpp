#include "tools/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace wan::bench {

double quantile(const std::vector<double>& sorted, double fraction) {
  const double place = fraction * double(sorted.size() - 1);
  const size_t below = size_t(std::floor(place)), above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - double(below)) * (sorted[above] - sorted[below]);
}

Summary summarise(std::vector<double> samples) {
  if (samples.empty()) throw std::invalid_argument("[statistics] at least one sample is wanted, got none");
  std::sort(samples.begin(), samples.end());
  return {quantile(samples, 0.5), quantile(samples, 0.1), quantile(samples, 0.9)};
}

}  // namespace wan::bench
