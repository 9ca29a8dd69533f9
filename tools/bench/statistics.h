// What a row of samples comes to.
#pragma once

#include <vector>

namespace wan::bench {

/// Linear between neighbours, as numpy's default. `sorted` ascending and not empty, fraction from 0 to 1.
double quantile(const std::vector<double>& sorted, double fraction);

struct Summary {
  double median, p10, p90;
};
/// Throws std::invalid_argument where there are no samples.
Summary summarise(std::vector<double> samples);

}  // namespace wan::bench
