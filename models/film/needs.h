// What interpolating takes, told from sizes alone.
#pragma once

#include <cstdint>

#include "models/film/config.h"
#include "models/film/model.h"

namespace wan::film {

struct Needs {
  /// What a Frame holds.
  int64_t frame_bytes;
  /// The most that tensors take at once while frames are computed and put between, beside the weights: two frames are
  /// held, and results as they are made. What libraries take for themselves (oneDNN, cuDNN) is not in it.
  int64_t peak_bytes;
  /// Multiplications and additions of all convolutions, each as its definition has them (winograd() takes fewer): of
  /// frame(), and of between().
  double frame_flops, pair_flops;
};

/// For frames of height x width before padding.
Needs needs(const Config& config, int64_t height, int64_t width, const Options& options = {},
            at::Device device = at::kCPU);

}  // namespace wan::film
