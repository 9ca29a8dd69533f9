// Sizes of the speech-to-video transformer. Source: config.json of Wan2.2-S2V-14B; WanModel_S2V,
// wan/modules/s2v/model_s2v.py.
#pragma once

#include "models/wan/config.h"

namespace wan {

struct SpeechConfig {
  WanConfig wan;                             // the blocks are those of the other tasks
  int64_t cond_dim;                          // channels of the pose latents
  int64_t audio_dim;                         // width of the audio encoder's hidden states
  int64_t num_audio_token;                   // learned tokens of one latent frame; the padding token comes on top
  std::vector<int64_t> audio_inject_layers;  // ascending; injector j works after block audio_inject_layers[j]

  /// Throws ModelError where a size is missing or out of range, or a switch is set to a variant that was never
  /// published.
  static SpeechConfig read(const std::filesystem::path& config_json);
  /// Without a config.json: what shapes tell of `tensors` (official names), and the blocks after which the published
  /// model hears, which no tensor tells. Throws ModelError naming `label` where WanConfig::of does, and for other
  /// numbers of blocks and injectors than the published model's.
  static SpeechConfig of(const StoredTensors& tensors, const std::string& label);
  /// read() where `config_json` is there, checked against the tensors, else of().
  static SpeechConfig find(const std::filesystem::path& config_json, const StoredTensors& tensors,
                           const std::string& label);

  /// As WanConfig::check.
  void check(const StoredTensors& tensors, const std::string& label, const std::string& config) const;
};

/// Wan2.2-S2V-14B.
inline const SpeechConfig kWanS2v14b = {kWanT2vA14b, 16, 1024, 4, {0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39}};

}  // namespace wan
