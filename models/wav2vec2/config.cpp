#include "models/wav2vec2/config.h"

#include <algorithm>

#include "models/files/config_json.h"
#include "models/files/error.h"
#include "models/names/shapes.h"

namespace wan {
namespace {

/// Larger than any encoder, small enough that products of a few of them do not overflow.
constexpr int64_t kLargest = 1 << 20, kLargestKernel = 64;
constexpr size_t kMostConvolutions = 8;
constexpr int64_t kMostLayers = 1 << 10;

/// What shapes tell: the sizes of a config without strides, heads and epsilon; 0 where a tensor is absent.
Wav2Vec2Config told_by(const StoredTensors& tensors) {
  const std::string root = "wav2vec2.", layers = root + "encoder.layers";
  const std::string position = root + "encoder.pos_conv_embed.conv.weight";
  const std::string kernel = tensors.contains(position + "_v") ? position + "_v" : position;
  Wav2Vec2Config told{};
  told.hidden_size = names::axis(tensors, root + "feature_projection.projection.weight", 0);
  told.num_hidden_layers = names::count(tensors, layers);
  told.intermediate_size = names::axis(tensors, layers + ".0.feed_forward.intermediate_dense.weight", 0);
  told.num_conv_pos_embeddings = names::axis(tensors, kernel, 2);
  if (const int64_t in = names::axis(tensors, kernel, 1); in > 0 && told.hidden_size % in == 0)
    told.num_conv_pos_embedding_groups = told.hidden_size / in;
  const std::string convolutions = root + "feature_extractor.conv_layers";
  const int64_t count = std::min<int64_t>(names::count(tensors, convolutions), kMostConvolutions + 1);
  for (int64_t i = 0; i < count; ++i) {
    const std::string weight = convolutions + "." + std::to_string(i) + ".conv.weight";
    told.conv_dim.push_back(names::axis(tensors, weight, 0));
    told.conv_kernel.push_back(names::axis(tensors, weight, 2));
  }
  return told;
}

/// The sizes that are one number: the key in config.json, the member, and the largest.
struct Size {
  const char* key;
  int64_t Wav2Vec2Config::*member;
  int64_t most;
};
constexpr Size kSizes[] = {
    {"hidden_size", &Wav2Vec2Config::hidden_size, kLargest},
    {"num_hidden_layers", &Wav2Vec2Config::num_hidden_layers, kMostLayers},
    {"intermediate_size", &Wav2Vec2Config::intermediate_size, kLargest},
    {"num_conv_pos_embeddings", &Wav2Vec2Config::num_conv_pos_embeddings, 1 << 10},
    {"num_conv_pos_embedding_groups", &Wav2Vec2Config::num_conv_pos_embedding_groups, kLargest},
};

/// Throws unless the tensors of `label` have the sizes of `config`, which `file` states.
void check(const Wav2Vec2Config& config, const std::string& file, const StoredTensors& tensors,
           const std::string& label) {
  const Wav2Vec2Config told = told_by(tensors);
  const auto compare = [&](const std::string& key, int64_t stated, int64_t of_tensors) {
    if (of_tensors == 0 || of_tensors == stated) return;
    throw ModelError(file, key + " must be " + std::to_string(of_tensors) + ", as in the tensors of " +
                               shown_name(label, true) + ", is " + std::to_string(stated) +
                               "; take the config.json of this model");
  };
  for (const Size& size : kSizes) compare(size.key, config.*size.member, told.*size.member);
  compare("the length of conv_dim", std::ssize(config.conv_dim), std::ssize(told.conv_dim));
  for (size_t i = 0; i < told.conv_dim.size(); ++i) {
    compare("conv_dim[" + std::to_string(i) + "]", config.conv_dim[i], told.conv_dim[i]);
    compare("conv_kernel[" + std::to_string(i) + "]", config.conv_kernel[i], told.conv_kernel[i]);
  }
}

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
      .num_hidden_layers = json.size("num_hidden_layers", 1, kMostLayers),
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

Wav2Vec2Config Wav2Vec2Config::of(const StoredTensors& tensors, const std::string& label) {
  constexpr int64_t kHead = 64;
  Wav2Vec2Config config = told_by(tensors);
  config.conv_stride = {5, 2, 2, 2, 2, 2, 2};
  config.layer_norm_eps = 1e-5;
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw ModelError(label, what + "; is it a whole Wav2Vec2, as wav2vec2-large-xlsr-53-english?");
  };
  for (const Size& size : kSizes)
    require(config.*size.member >= 1 && config.*size.member <= size.most,
            "must have tensors that tell " + std::string(size.key) + ", from 1 to " + std::to_string(size.most) +
                ", they give " + std::to_string(config.*size.member));
  require(config.conv_dim.size() == config.conv_stride.size(),
          "must have 7 convolutions where no config.json states their strides, has " +
              std::to_string(config.conv_dim.size()) + (config.conv_dim.size() > kMostConvolutions ? " or more" : ""));
  for (size_t i = 0; i < config.conv_dim.size(); ++i)
    require(config.conv_dim[i] >= 1 && config.conv_dim[i] <= kLargest && config.conv_kernel[i] >= 1 &&
                config.conv_kernel[i] <= kLargestKernel,
            "must have a kernel of 1 to 64 samples in convolution " + std::to_string(i) + ", has " +
                std::to_string(config.conv_kernel[i]));
  require(config.num_hidden_layers <= 24, "must have at most 24 layers where no config.json states the heads, has " +
                                              std::to_string(config.num_hidden_layers));
  require(config.hidden_size % kHead == 0,
          "must be a multiple of 64 wide, the width of a head, where no config.json states the heads, is " +
              std::to_string(config.hidden_size) + " wide");
  config.num_attention_heads = config.hidden_size / kHead;
  return config;
}

Wav2Vec2Config Wav2Vec2Config::find(const std::filesystem::path& file, const StoredTensors& tensors,
                                    const std::string& label) {
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(file, error))) return of(tensors, label);
  const Wav2Vec2Config config = read(file);
  check(config, file.string(), tensors, label);
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
