// How loud a sound is and how its channels stand to each other, gathered while it is read.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace wan {

struct Loudness {
  /// float32 [channels, n], contiguous, and their mean [1, n].
  void add(const at::Tensor& channels, const at::Tensor& mean);

  std::vector<double> channels;  // sum of squares of each
  double mean = 0;               // of their mean
  float peak = 0;                // the largest absolute value of any channel
  int64_t samples = 0;           // of all channels together
  int64_t full = 0;              // of them at full scale or beyond
};

}  // namespace wan
