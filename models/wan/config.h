// Sizes of a Wan 2.2 diffusion transformer. Source: config.json of the checkpoint; WanModel, wan/modules/model.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "models/weights/stored_tensor.h"

namespace wan {

struct WanConfig {
  int64_t dim, ffn_dim, freq_dim, in_dim, out_dim, num_heads, num_layers, text_len;
  double eps;
  /// Latent pixels of a token along (t, y, x).
  static constexpr std::array<int64_t, 3> kPatch = {1, 2, 2};

  int64_t head_dim() const { return dim / num_heads; }
  /// Values of one channel set in a token.
  static constexpr int64_t patch_values() { return kPatch[0] * kPatch[1] * kPatch[2]; }

  /// A config.json in the words of the official release or of diffusers. Throws ModelError, which names file, key, range
  /// and value, where a size is missing, out of range or does not fit the others, and where a switch of diffusers asks
  /// for another transformer.
  static WanConfig read(const std::filesystem::path& config_json);
  /// The same from parsed JSON; `label` is what messages call it.
  static WanConfig parse(const nlohmann::json& json, const std::string& label);
  /// Without a config.json: what shapes tell of `tensors` (official names), and heads 128 wide, 512 text tokens and the
  /// epsilon 1e-6, as in every published transformer. Throws ModelError naming `label` where a tensor is missing, or
  /// the width is no multiple of 128.
  static WanConfig of(const StoredTensors& tensors, const std::string& label);
  /// read() where `config_json` is there, checked against the tensors, else of().
  static WanConfig find(const std::filesystem::path& config_json, const StoredTensors& tensors,
                        const std::string& label);

  /// Throws a ModelError that names `config` and `label` where a tensor has another size than is said here. What is
  /// missing is left to Weights::finish.
  void check(const StoredTensors& tensors, const std::string& label, const std::string& config) const;
};

/// Throws a ModelError about the file `config` unless `value`, its size `key`, is that of the tensors of `label`.
void check_size(const std::string& config, const char* key, int64_t value, const std::string& label,
                int64_t of_tensors);

/// Wan 2.2 A14B: 16 input channels for text to video; 36 (noise, mask, image latent) for image to video.
inline constexpr WanConfig kWanT2vA14b = {5120, 13824, 256, 16, 16, 40, 40, 512, 1e-6};
inline constexpr WanConfig kWanI2vA14b = {5120, 13824, 256, 36, 16, 40, 40, 512, 1e-6};

}  // namespace wan
