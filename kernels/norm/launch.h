// Arguments and launchers of the norms (kernels/op/launch.h has the rules).
#pragma once

#include "kernels/op/launch.h"

namespace wan::kernels {

/// x += gate * y (where y is given), then out = norm(x) * (one + multiplier) + offset. Contiguous rows of `channels`.
struct LayerNormArguments {
  float* x;                 // [rows, channels]
  const void* y;            // [rows, channels] of the launch's element, or null
  const float* gate;        // [segments, channels], or null: 1
  const float* multiplier;  // [segments, channels], or null: the factor is 1
  const float* offset;      // [segments, channels], or null: 0
  float one;                // 1 with modulation, 0 with an affine weight
  void* out;                // [rows, channels] of the launch's element
  int64_t rows;             // batch * tokens
  int tokens, channels;
  float eps;
  SegmentEnds segments;
};
cudaError_t launch_layer_norm(const LayerNormArguments& arguments, Element element, cudaStream_t stream);

/// x += gate * y alone; `element` is y's. Uses x, y, gate, rows, tokens, channels and segments.
cudaError_t launch_gated_residual(const LayerNormArguments& arguments, Element element, cudaStream_t stream);

/// out = x / sqrt(mean(x^2) + eps) * weight.
struct RmsNormArguments {
  const void* x;        // [rows, channels] of `element`
  const float* weight;  // [channels]
  void* out;            // [rows, channels] of `element`
  int64_t rows;
  int channels;
  float eps;
};
cudaError_t launch_rms_norm(const RmsNormArguments& arguments, Element element, cudaStream_t stream);

/// Widest pixel whose channels one warp holds in its registers; the networks have 96, 192, 384.
constexpr int kMaxPixelChannels = 1024;
/// y = x + bias; out = y / max(|y|, 1e-12) * sqrt(channels) * gamma over the channels of each pixel, then SiLU. `out`
/// may be `x`.
struct ChannelNormArguments {
  const void* x;       // [pixels, channels] of `in`
  const float* gamma;  // [channels]
  void* out;           // [pixels, channels] of `out`
  int64_t pixels;
  int channels;
  bool activate;
  const float* bias = nullptr;  // [channels], or null: 0
};
/// `out` is `in`, or `in` is Float; other pairs give cudaErrorInvalidValue.
cudaError_t launch_channel_norm(const ChannelNormArguments& arguments, Element in, Element out, cudaStream_t stream);

/// As launch_layer_norm, and its rows quantised as by launch_quantise_rows, without a rounding in between.
struct LayerNormInt8Arguments {
  LayerNormArguments norm;  // `channels` a multiple of 128; `out` is not used
  int8_t* codes;            // [rows, channels]
  float* scale;             // [rows]
};
/// `element` is y's; without a residual it plays no part.
cudaError_t launch_layer_norm_int8(const LayerNormInt8Arguments& arguments, Element element, cudaStream_t stream);

}  // namespace wan::kernels
