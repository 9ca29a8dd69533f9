#include "models/wav2vec2/config.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/error.h"

namespace wan {
namespace {

/// Larger than any encoder, small enough that products of a few of them do not overflow.
constexpr int64_t kLargestSize = 1 << 20, kLargestKernel = 64, kMostConvolutions = 8;

/// Reads members of a config.json and says which one is wrong.
struct Reader {
  const std::string subject;
  const nlohmann::json json;

  int64_t size(const char* name, const nlohmann::json& value, int64_t largest) const {
    if (!value.is_number_integer() || value < 1 || value > largest)
      throw ModelError(subject, std::string(name) + " must be an integer from 1 to " + std::to_string(largest) + ", got " +
                                    value.dump().substr(0, 40) + "; take the file of the published encoder");
    return value.get<int64_t>();
  }
  int64_t size(const char* name) const { return size(name, json.value(name, nlohmann::json()), kLargestSize); }
  std::vector<int64_t> sizes(const char* name, int64_t largest) const {
    nlohmann::json list = json.value(name, nlohmann::json());
    if (!list.is_array() || list.empty() || int64_t(list.size()) > kMostConvolutions)
      throw ModelError(subject, std::string(name) + " must be a list of 1 to 8 integers, got " + list.dump().substr(0, 40) +
                                    "; take the file of the published encoder");
    std::vector<int64_t> result;
    for (const auto& value : list) result.push_back(size(name, value, largest));
    return result;
  }
  double number(const char* name) const {
    nlohmann::json value = json.value(name, nlohmann::json());
    if (!value.is_number())
      throw ModelError(subject, std::string(name) + " must be a number, got " + value.dump().substr(0, 40) +
                                    "; take the file of the published encoder");
    return value.get<double>();
  }
  void expect(const char* name, const nlohmann::json& want) const {
    nlohmann::json got = json.value(name, nlohmann::json());
    if (got != want)
      throw ModelError(subject, std::string(name) + " must be " + want.dump() + ", got " + got.dump().substr(0, 40) +
                                    "; speech to video takes wav2vec2-large-xlsr-53");
  }
  void require(bool holds, const char* relation) const {
    if (!holds) throw ModelError(subject, std::string(relation) + "; take the file of the published encoder");
  }
};

nlohmann::json parse(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw ModelError(file, "cannot be read; the folder of the audio encoder must hold it");
  nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object()) throw ModelError(file, "must be a JSON object; take the file of the published encoder");
  return json;
}

}  // namespace

Wav2Vec2Config Wav2Vec2Config::read(const std::filesystem::path& file) {
  const Reader in{file, parse(file)};
  in.expect("do_stable_layer_norm", true);
  in.expect("feat_extract_norm", "layer");
  in.expect("conv_bias", true);
  in.expect("hidden_act", "gelu");
  in.expect("feat_extract_activation", "gelu");
  Wav2Vec2Config c;
  c.hidden_size = in.size("hidden_size");
  c.num_hidden_layers = in.size("num_hidden_layers");
  c.num_attention_heads = in.size("num_attention_heads");
  c.intermediate_size = in.size("intermediate_size");
  c.conv_dim = in.sizes("conv_dim", kLargestSize);
  c.conv_kernel = in.sizes("conv_kernel", kLargestKernel);
  c.conv_stride = in.sizes("conv_stride", kLargestKernel);
  c.num_conv_pos_embeddings = in.size("num_conv_pos_embeddings");
  c.num_conv_pos_embedding_groups = in.size("num_conv_pos_embedding_groups");
  c.layer_norm_eps = in.number("layer_norm_eps");
  in.require(c.conv_kernel.size() == c.conv_dim.size() && c.conv_stride.size() == c.conv_dim.size(),
             "conv_dim, conv_kernel and conv_stride must have the same length");
  in.require(c.hidden_size % c.num_attention_heads == 0, "hidden_size must be a multiple of num_attention_heads");
  in.require(c.hidden_size % c.num_conv_pos_embedding_groups == 0,
             "hidden_size must be a multiple of num_conv_pos_embedding_groups");
  return c;
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
