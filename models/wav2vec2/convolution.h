// The convolutions of Wav2Vec2: from samples to frames, and the position of frames.
// Source: transformers 4.51.3, modeling_wav2vec2.py (Wav2Vec2FeatureEncoder, Wav2Vec2PositionalConvEmbedding).
#pragma once

#include <ATen/core/Tensor.h>

#include "models/layers.h"
#include "models/wav2vec2/config.h"

namespace wan {

using at::Tensor;

/// Convolutions, each with a layer norm over channels and GELU after it: 400 samples make a frame, the next starts 320
/// later.
struct FeatureExtractor {
  FeatureExtractor(const Scope& at, const Wav2Vec2Config& c);

  /// samples [N] float32, N >= config.samples(1) -> [T, conv_dim.back()]. Computed in stretches of frames, which fits
  /// the processor's cache and bounds memory: the first convolution is 400 times as large as the result.
  Tensor operator()(const Tensor& samples) const;

 private:
  struct Layer {
    Weight weight, bias;
    LayerNorm layer_norm;
    int64_t stride;
  };
  Wav2Vec2Config config_;
  std::vector<Layer> conv_layers_;
};

/// Position as a wide grouped convolution over the frames themselves. Its weight is stored weight-normed over the
/// kernel axis: g * v / |v|, as weight_g and weight_v or, from newer writers, parametrizations.weight.original0 and
/// original1; some writers store the product, as weight.
struct PositionalConvolution {
  PositionalConvolution(const Scope& at, const Wav2Vec2Config& c);

  /// h [T, hidden] -> what is added to it, [T, hidden].
  Tensor operator()(const Tensor& h) const;

 private:
  Weight weight_, bias_;
  int64_t groups_;
};

}  // namespace wan
