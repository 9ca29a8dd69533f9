#include "engine/compare/series.h"

#include <algorithm>
#include <cmath>

namespace wan {
namespace {

/// The mean of what is finite from `first` to before `end`.
std::optional<double> mean_of(const std::vector<double>& values, size_t first, size_t end) {
  double sum = 0;
  size_t count = 0;
  for (size_t i = first; i < end; ++i)
    if (std::isfinite(values[i])) sum += values[i], ++count;
  return count == 0 ? std::nullopt : std::optional(sum / double(count));
}

std::optional<double> slope_of(const std::vector<double>& values, const std::vector<double>& times, double mean) {
  double time = 0, count = 0;
  for (size_t i = 0; i < values.size(); ++i)
    if (std::isfinite(values[i])) time += times[i], ++count;
  time /= count;
  double both = 0, squares = 0;
  for (size_t i = 0; i < values.size(); ++i)
    if (std::isfinite(values[i])) {
      both += (times[i] - time) * (values[i] - mean);
      squares += (times[i] - time) * (times[i] - time);
    }
  return squares > 0 ? std::optional(both / squares) : std::nullopt;
}

}  // namespace

Summary summary_of(const std::vector<double>& values, const std::vector<double>& times, Worse worse) {
  Summary summary;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    ++summary.counted;
    const bool first = !summary.worst;
    if (first || (worse == Worse::Lower ? values[i] < values[*summary.worst] : values[i] > values[*summary.worst]))
      summary.worst = i;
  }
  summary.mean = mean_of(values, 0, values.size());
  if (summary.mean) summary.per_second = slope_of(values, times, *summary.mean);
  if (values.size() >= 2) {
    const size_t quarter = std::max<size_t>(1, values.size() / 4);
    const auto first = mean_of(values, 0, quarter), last = mean_of(values, values.size() - quarter, values.size());
    if (first && last) summary.first_quarter = first, summary.last_quarter = last;
  }
  return summary;
}

}  // namespace wan
