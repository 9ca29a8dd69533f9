// What becomes tokens and modulation rows: patches of latents, timesteps. Source: WanModel, wan/modules/model.py.
#pragma once

#include <array>

#include "models/layers.h"
#include "models/wan/config.h"

namespace wan {

/// Extent of a token along (t, y, x), in latent pixels.
using Patch = std::array<int64_t, 3>;

/// [C, T, h, w] -> tokens [T/pt * h/py * w/px, C * pt * py * px], frames first, then rows, then columns; channel
/// slowest. Throws c10::Error where the latent is not a whole number of patches.
Tensor patchify(const Tensor& latent, const Patch& patch);
/// Tokens [L, pt * py * px * C], channel FASTEST (the head's order) -> [C, T, h, w] of the size given.
Tensor unpatchify(const Tensor& tokens, const Patch& patch, int64_t frames, int64_t height, int64_t width);

/// The patch convolution, whose stride is its kernel, so that it is a linear over patches.
struct PatchEmbedding {
  PatchEmbedding(const Scope& at, int64_t channels, int64_t dim, const Patch& patch, at::ScalarType compute);
  /// latent [channels, T, h, w] -> tokens [1, L, dim] in float32_dtype(compute).
  Tensor operator()(const Tensor& latent) const;

  at::ScalarType compute;
  Patch patch;
  Weight weight, bias;  // [dim, channels, pt, py, px], [dim]
};

/// Rows made of timesteps, one for each segment of tokens, in float32_dtype(compute).
struct TimeRows {
  Tensor e;   // [S, dim], for the head
  Tensor e0;  // [6, S, dim], for the blocks
};

/// Sinusoid, two linears with SiLU, projection; all in float32, outside of autocast.
struct TimeEmbedding {
  /// `root` holds both names, time_embedding and time_projection.
  TimeEmbedding(const Scope& root, const WanConfig& config, at::ScalarType compute);
  /// times: 1000 sigma, one for each segment.
  TimeRows operator()(at::ArrayRef<double> times) const;

  int64_t width;  // of the sinusoid
  Mlp time_embedding;
  Linear time_projection;  // "1"
};

}  // namespace wan
