#include "models/wav2vec2/model.h"

#include <ATen/ATen.h>

#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/op/pieces.h"

namespace wan {
namespace {

Scope encoder_root(Weights& weights) {
  const Scope root = weights.root(), prefixed = root / "wav2vec2";
  return (prefixed / "encoder" / "layer_norm").has("weight") ? prefixed : root;
}

}  // namespace

Wav2Vec2Layer::Wav2Vec2Layer(const Scope& at, const Wav2Vec2Config& c)
    : heads(c.num_attention_heads),
      layer_norm(at / "layer_norm", c.hidden_size, c.layer_norm_eps),
      final_layer_norm(at / "final_layer_norm", c.hidden_size, c.layer_norm_eps),
      q_proj(at / "attention" / "q_proj", c.hidden_size, c.hidden_size, at::kFloat, Bias::Yes, Role::Float32),
      k_proj(at / "attention" / "k_proj", c.hidden_size, c.hidden_size, at::kFloat, Bias::Yes, Role::Float32),
      v_proj(at / "attention" / "v_proj", c.hidden_size, c.hidden_size, at::kFloat, Bias::Yes, Role::Float32),
      out_proj(at / "attention" / "out_proj", c.hidden_size, c.hidden_size, at::kFloat, Bias::Yes, Role::Float32),
      intermediate_dense(at / "feed_forward" / "intermediate_dense", c.hidden_size, c.intermediate_size, at::kFloat,
                         Bias::Yes, Role::Float32),
      output_dense(at / "feed_forward" / "output_dense", c.intermediate_size, c.hidden_size, at::kFloat, Bias::Yes,
                   Role::Float32) {}

Tensor Wav2Vec2Layer::operator()(const Tensor& h) const {
  auto split = [&](const Tensor& x) { return x.view({1, x.size(0), heads, -1}); };
  Tensor normed = layer_norm(h, at::kFloat);
  Tensor q = split(q_proj(normed)), k = split(k_proj(normed)), v = split(v_proj(normed));
  Tensor attended = kernels::attention(q, k, v, 1 / std::sqrt(double(q.size(3))), {}, out_proj.weight.context());
  Tensor sum = h + out_proj(attended.reshape(h.sizes()));
  const Tensor inner = intermediate_dense(final_layer_norm(sum, at::kFloat));
  // The erf form, unlike every other network here; in place, because it is four times as wide as h.
  kernels::elementwise_(inner, [](Tensor& piece) { at::gelu_(piece); });
  return sum.add_(output_dense(inner));
}

Wav2Vec2::Wav2Vec2(Weights& weights, const Wav2Vec2Config& c) : Wav2Vec2(weights, encoder_root(weights), c) {}

Wav2Vec2::Wav2Vec2(Weights& weights, const Scope& at, const Wav2Vec2Config& c)
    : config_(c),
      feature_extractor_(at / "feature_extractor", c),
      projection_norm_(at / "feature_projection" / "layer_norm", c.conv_dim.back(), c.layer_norm_eps),
      projection_(at / "feature_projection" / "projection", c.conv_dim.back(), c.hidden_size, at::kFloat, Bias::Yes,
                  Role::Float32),
      pos_conv_embed_(at / "encoder" / "pos_conv_embed" / "conv", c),
      layer_norm_(at / "encoder" / "layer_norm", c.hidden_size, c.layer_norm_eps) {
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers_.emplace_back(at / "encoder" / "layers" / i, c);
  weights.ignore("lm_head.");                         // letters, for transcription
  weights.ignore((at / "masked_spec_embed").path());  // stands for masked frames in training
}

Tensor Wav2Vec2::feature_projection(const Tensor& conv_features) const {
  return projection_(projection_norm_(conv_features, at::kFloat));
}

void Wav2Vec2::hidden_states(const Tensor& samples, const Visitor& visit, Tensor* unnormalised) const {
  Tensor h = feature_projection(conv_features(samples));
  h = h + pos_conv_embed_(h);
  for (size_t i = 0; i < layers_.size(); ++i) {
    visit(int64_t(i), h);
    h = layers_[i](h);
  }
  if (unnormalised) *unnormalised = h;
  visit(int64_t(layers_.size()), layer_norm_(h, at::kFloat));
}

void SampleStatistics::add(const Tensor& samples) {
  if (samples.numel() == 0) return;
  Tensor wide = samples.to(at::kDouble);
  const double n = double(samples.numel()), mean = kernels::sum_in_pieces(wide) / n;
  const double squares = kernels::sum_in_pieces(wide.sub_(mean).square_());
  // Chan's update: exact however the file is cut.
  const double before = double(count_), total = before + n, delta = mean - mean_;
  mean_ += delta * n / total;
  squares_ += squares + delta * delta * before * n / total;
  count_ += samples.numel();
}

Tensor SampleStatistics::normalise(const Tensor& samples) const {
  const double variance = count_ > 0 ? squares_ / double(count_) : 0;
  return samples.to(at::kDouble).sub_(mean_).div_(std::sqrt(variance + 1e-7)).to(at::kFloat);
}

}  // namespace wan
