// Networks of the real sizes without their files: weights are drawn where they are needed.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/wan/config.h"
#include "models/wav2vec2/config.h"
#include "models/weights/checkpoint.h"
#include "models/weights/scope.h"

namespace wan::bench {

/// Draws weights on `device` from its generator: normal, scaled so that sums over the inputs stay of order 1; one-axis
/// weights of norms and the like near 1. Matrices in `compute`, those of Role::Float32 in float32. Equal seeds of the
/// generator before the network is built give equal networks, up to rounding.
Draw draw_on(at::Device device, at::ScalarType compute);

/// Width of the text states.
inline constexpr int64_t kTextDim = 4096;
/// The one shape of a transformer that no config states, for Weights(Draw, Place, Checkpoint).
Checkpoint transformer_shapes(const WanConfig& config, int64_t text_dim = kTextDim);

/// Sizes of the text encoder; the defaults are UMT5-XXL's.
struct Umt5Shapes {
  int64_t vocabulary = 256384, dim = 4096, inner = 4096, heads = 64, hidden = 10240, layers = 24;
};
/// What the text encoder reads off its file.
Checkpoint umt5_shapes(const Umt5Shapes& sizes);

/// wav2vec2-large-xlsr-53.
Wav2Vec2Config wav2vec2_large();

}  // namespace wan::bench
