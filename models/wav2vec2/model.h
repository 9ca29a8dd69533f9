// Wav2Vec2 as the audio encoder of speech to video: every hidden state, in float32.
// Source: transformers 4.51.3, modeling_wav2vec2.py (Wav2Vec2Model with do_stable_layer_norm).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "models/layers.h"
#include "models/wav2vec2/config.h"
#include "models/wav2vec2/convolution.h"

namespace wan {

/// Pre-norm transformer layer over frames, full attention. Source: Wav2Vec2EncoderLayerStableLayerNorm.
struct Wav2Vec2Layer {
  Wav2Vec2Layer(const Scope& at, const Wav2Vec2Config& c);

  /// h [T, hidden] -> [T, hidden], not normalised.
  Tensor operator()(const Tensor& h) const;

  int64_t heads;
  LayerNorm layer_norm, final_layer_norm;
  Linear q_proj, k_proj, v_proj, out_proj;
  Linear intermediate_dense, output_dense;
};

class Wav2Vec2 {
 public:
  /// `root` is the root of a Wav2Vec2Model or of a Wav2Vec2ForCTC, whose names begin with "wav2vec2.". Ignores what
  /// the encoder does not use (masked_spec_embed, lm_head).
  Wav2Vec2(Weights& weights, const Wav2Vec2Config& c);

  const Wav2Vec2Config& config() const { return config_; }
  /// Hidden states that `hidden_states` reports: layers + 1.
  int64_t states() const { return config_.num_hidden_layers + 1; }

  /// samples [N] float32, normalised over the file -> conv features [T, conv_dim.back()].
  Tensor conv_features(const Tensor& samples) const { return feature_extractor_(samples); }
  /// conv features -> [T, hidden].
  Tensor feature_projection(const Tensor& conv_features) const;

  /// Called with the number of a hidden state and the state [T, hidden].
  using Visitor = std::function<void(int64_t index, const Tensor& state)>;
  /// Visits every hidden state of samples [N] (float32, normalised): 0 is the projection with positions, i the output
  /// of layer i, and the last one that output after the final LayerNorm. One state is in memory at a time: at 120 s all
  /// of them are 0.6 GB. `unnormalised` receives the last layer's output before the norm where it is given.
  void hidden_states(const Tensor& samples, const Visitor& visit, Tensor* unnormalised = nullptr) const;

 private:
  Wav2Vec2(Weights& weights, const Scope& at, const Wav2Vec2Config& c);

  Wav2Vec2Config config_;
  FeatureExtractor feature_extractor_;
  LayerNorm projection_norm_;
  Linear projection_;
  PositionalConvolution pos_conv_embed_;
  std::vector<Wav2Vec2Layer> layers_;
  LayerNorm layer_norm_;
};

/// Mean and variance of a file's samples, gathered piece by piece in float64.
class SampleStatistics {
 public:
  /// samples [N] float32 on the CPU.
  void add(const Tensor& samples);
  /// (samples - mean) / sqrt(variance + 1e-7), the population variance over all that was added; float32.
  /// Source: Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm.
  Tensor normalise(const Tensor& samples) const;
  int64_t count() const { return count_; }

 private:
  int64_t count_ = 0;
  double mean_ = 0, squares_ = 0;  // sum of squared distances from the mean
};

}  // namespace wan
