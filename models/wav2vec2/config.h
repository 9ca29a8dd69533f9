// Sizes of a Wav2Vec2 encoder, as its config.json states them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/weights/stored_tensor.h"

namespace wan {

/// The members carry config.json's words. wav2vec2-large-xlsr-53: 1024 wide, 24 layers, 16 heads, 512-wide
/// convolutions.
struct Wav2Vec2Config {
  int64_t hidden_size, num_hidden_layers, num_attention_heads, intermediate_size;
  std::vector<int64_t> conv_dim, conv_kernel, conv_stride;
  int64_t num_conv_pos_embeddings, num_conv_pos_embedding_groups;
  double layer_norm_eps;

  /// Throws ModelError where the file is absent, is no JSON, lacks a size, or describes another kind of encoder than
  /// the one with layer norms before each sub-layer ("do_stable_layer_norm") and after each convolution.
  static Wav2Vec2Config read(const std::filesystem::path& file);
  /// Without a config.json: what shapes tell of `tensors` (official names), and the strides 5, 2, 2, 2, 2, 2, 2, heads 64
  /// wide and the epsilon 1e-5, as in every published encoder of this kind up to 24 layers. Throws ModelError naming
  /// `label` where a tensor is missing, a size is out of range, or the numbers do not fit these.
  static Wav2Vec2Config of(const StoredTensors& tensors, const std::string& label);
  /// read() where `file` is there, checked against the tensors, else of(). Throws a ModelError that names both where the
  /// tensors have other sizes.
  static Wav2Vec2Config find(const std::filesystem::path& file, const StoredTensors& tensors, const std::string& label);

  /// Samples from one frame to the next: 320.
  int64_t hop() const;
  /// Samples that `frames` frames look at: 400 for one.
  int64_t samples(int64_t frames) const;
  /// Frames that `samples` samples give: floor((samples - 400) / 320) + 1, and 0 below 400.
  int64_t frames(int64_t samples) const;
};

}  // namespace wan
