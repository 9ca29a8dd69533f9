#include "models/wav2vec2/config.h"

#include "models/files/config_json.h"

namespace wan {
namespace {

/// Larger than any encoder, small enough that products of a few of them do not overflow.
constexpr int64_t kLargest = 1 << 20, kLargestKernel = 64;
constexpr size_t kMostConvolutions = 8;

}  // namespace

Wav2Vec2Config Wav2Vec2Config::read(const std::filesystem::path& file) {
  const ConfigJson json = ConfigJson::read(file);
  json.expect("do_stable_layer_norm", true);
  json.expect("feat_extract_norm", "layer");
  json.expect("conv_bias", true);
  json.expect("hidden_act", "gelu");
  json.expect("feat_extract_activation", "gelu");
  Wav2Vec2Config config{
      .hidden_size = json.size("hidden_size", 1, kLargest),
      .num_hidden_layers = json.size("num_hidden_layers", 1, 1 << 10),
      .num_attention_heads = json.size("num_attention_heads", 1, 1 << 10),
      .intermediate_size = json.size("intermediate_size", 1, kLargest),
      .conv_dim = json.sizes("conv_dim", kMostConvolutions, 1, kLargest),
      .conv_kernel = json.sizes("conv_kernel", kMostConvolutions, 1, kLargestKernel),
      .conv_stride = json.sizes("conv_stride", kMostConvolutions, 1, kLargestKernel),
      .num_conv_pos_embeddings = json.size("num_conv_pos_embeddings", 1, 1 << 10),
      .num_conv_pos_embedding_groups = json.size("num_conv_pos_embedding_groups", 1, kLargest),
      .layer_norm_eps = json.epsilon("layer_norm_eps"),
  };
  json.require(
      config.conv_kernel.size() == config.conv_dim.size() && config.conv_stride.size() == config.conv_dim.size(),
      "conv_dim, conv_kernel and conv_stride must be equally long");
  json.require(config.hidden_size % config.num_attention_heads == 0,
               "hidden_size must be a multiple of num_attention_heads");
  json.require(config.hidden_size % config.num_conv_pos_embedding_groups == 0,
               "hidden_size must be a multiple of num_conv_pos_embedding_groups");
  return config;
}

int64_t Wav2Vec2Config::hop() const {
  int64_t product = 1;
  for (int64_t stride : conv_stride) product *= stride;
  return product;
}

int64_t Wav2Vec2Config::samples(int64_t frames) const {
  for (size_t i = conv_kernel.size(); i-- > 0;) frames = (frames - 1) * conv_stride[i] + conv_kernel[i];
  return frames;
}

int64_t Wav2Vec2Config::frames(int64_t samples) const {
  const int64_t receptive_field = this->samples(1);
  return samples < receptive_field ? 0 : (samples - receptive_field) / hop() + 1;
}

}  // namespace wan
