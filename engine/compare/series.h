// A measure frame by frame, and what is said of it in short: mean, worst frame, drift. No tensors.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace wan {

/// Which end of a measure is that of frames far apart.
enum class Worse { Lower, Higher };

/// Of the frames whose value is finite: equal frames have an infinite PSNR and do not count. Nothing where too few do.
struct Summary {
  size_t counted = 0;           // frames
  std::optional<double> mean;   // of the values
  std::optional<size_t> worst;  // the first frame with the worst value
  /// The slope of the straight line through the values over the times, by least squares: change a second.
  std::optional<double> per_second;
  /// The means of the first and of the last floor(n / 4) of all n frames, at least one; both or neither. From two frames on.
  std::optional<double> first_quarter, last_quarter;
};

/// `values` and `times`, in seconds, have an entry for each frame.
Summary summary_of(const std::vector<double>& values, const std::vector<double>& times, Worse worse);

}  // namespace wan
