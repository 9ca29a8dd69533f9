#include "models/wav2vec2/convolution.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/op/pieces.h"

namespace wan {
namespace {

/// Two seconds. Measured at the real size on two cores: 10 s of audio take 0.20 s in stretches of 50 to 100 frames,
/// 0.29 s as one.
constexpr int64_t kStretch = 100;

/// The erf form.
Tensor erf_gelu(const Tensor& x) {
  const Tensor y = x.clone(at::MemoryFormat::Contiguous);
  kernels::elementwise_(y, [](Tensor& piece) { at::gelu_(piece); });
  return y;
}

/// In float32 from the start where the file stores another dtype: converting at each use would be a copy each time.
Weight take_float(const Scope& at, std::string_view leaf, at::IntArrayRef shape) {
  return at.take(leaf, shape, Role::Float32,
                 {.prepare = [](const std::vector<Tensor>& parts) { return parts[0].to(at::kFloat); }});
}

/// parts: g [1, 1, kernel] and v [hidden, hidden / groups, kernel] -> g * v / |v|, normed over all but the last axis.
Tensor weight_normed(const std::vector<Tensor>& parts) {
  const Tensor g = parts[0].to(at::kFloat), v = parts[1].to(at::kFloat);
  return v * (g / at::linalg_vector_norm(v, 2, at::IntArrayRef{0, 1}, true));
}

}  // namespace

FeatureExtractor::FeatureExtractor(const Scope& at, const Wav2Vec2Config& c) : config_(c) {
  int64_t in = 1;
  for (size_t i = 0; i < c.conv_dim.size(); ++i) {
    const Scope layer = at / "conv_layers" / int64_t(i);
    conv_layers_.push_back({take_float(layer / "conv", "weight", {c.conv_dim[i], in, c.conv_kernel[i]}),
                            take_float(layer / "conv", "bias", {c.conv_dim[i]}),
                            LayerNorm(layer / "layer_norm", c.conv_dim[i], c.layer_norm_eps), c.conv_stride[i]});
    in = c.conv_dim[i];
  }
}

Tensor FeatureExtractor::operator()(const Tensor& samples) const {
  const int64_t frames = config_.frames(samples.numel());
  TORCH_CHECK(frames > 0, "[FeatureExtractor] samples must number at least ", config_.samples(1), ", got ",
              samples.numel());
  Tensor features = at::empty({frames, config_.conv_dim.back()}, samples.options());
  kernels::in_pieces((frames + kStretch - 1) / kStretch, [&](int64_t piece) {
    const int64_t start = piece * kStretch, count = std::min(kStretch, frames - start);
    Tensor h = samples.narrow(0, start * config_.hop(), config_.samples(count)).view({1, 1, -1});
    for (const Layer& layer : conv_layers_) {
      h = at::conv1d(h, layer.weight.tensor(), layer.bias.tensor(), layer.stride);
      h = at::gelu(layer.layer_norm(h.transpose(1, 2), at::kFloat)).transpose(1, 2);
    }
    features.narrow(0, start, count).copy_(h[0].t());
  });
  return features;
}

PositionalConvolution::PositionalConvolution(const Scope& at, const Wav2Vec2Config& c)
    : groups_(c.num_conv_pos_embedding_groups) {
  const int64_t kernel = c.num_conv_pos_embeddings;
  const std::vector<int64_t> shape = {c.hidden_size, c.hidden_size / groups_, kernel};
  const Scope newer = at / "parametrizations" / "weight";
  const bool renamed = newer.has("original0");
  if (at.has("weight"))  // normed already
    weight_ = take_float(at, "weight", shape);
  else
    weight_ =
        (renamed ? newer : at)
            .take({{renamed ? "original0" : "weight_g", {1, 1, kernel}}, {renamed ? "original1" : "weight_v", shape}},
                  Role::Float32, {.prepare = weight_normed});
  bias_ = take_float(at, "bias", {c.hidden_size});
}

Tensor PositionalConvolution::operator()(const Tensor& h) const {
  const int64_t frames = h.size(0), kernel = weight_.size(2);
  const int64_t in = h.size(1) / groups_, out = weight_.size(0) / groups_;
  const Tensor input = h.t().contiguous(), weight = weight_.tensor(), bias = bias_.tensor();
  const Tensor y = at::empty({weight_.size(0), frames}, h.options());
  kernels::in_pieces(groups_, [&](int64_t group) {
    const Tensor seen = input.narrow(0, group * in, in).unsqueeze(0);
    const Tensor part =
        at::conv1d(seen, weight.narrow(0, group * out, out), bias.narrow(0, group * out, out), 1, kernel / 2);
    // An even kernel gives one frame too many, at the end.
    y.narrow(0, group * out, out).copy_(part[0].narrow(1, 0, frames));
  });
  return erf_gelu(y.t());
}

}  // namespace wan
