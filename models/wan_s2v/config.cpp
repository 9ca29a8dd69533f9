#include "models/wan_s2v/config.h"

#include <algorithm>

#include "models/files/config_json.h"

namespace wan {

SpeechConfig SpeechConfig::read(const std::filesystem::path& config_json) {
  const ConfigJson json = ConfigJson::read(config_json);
  json.expect("model_type", "s2v");
  json.expect("adain_mode", "attn_norm");
  json.expect("framepack_drop_mode", "padd");
  for (const char* on : {"enable_adain", "enable_framepack", "zero_timestep", "add_last_motion"}) json.expect(on, true);
  for (const char* off : {"enable_motioner", "enable_tsm", "trainable_token_pos_emb"}) json.expect(off, false);
  SpeechConfig config{
      .wan = WanConfig::parse(json.json(), json.label()),
      .cond_dim = json.size("cond_dim", 1, 1 << 12),
      .audio_dim = json.size("audio_dim", 1, 1 << 16),
      .num_audio_token = json.size("num_audio_token", 1, 1 << 8),
      .audio_inject_layers = json.sizes("audio_inject_layers", 1 << 10, 0, 1 << 10),
  };
  const auto& layers = config.audio_inject_layers;
  json.require(std::adjacent_find(layers.begin(), layers.end(), std::greater_equal<>()) == layers.end() &&
                   layers.back() < config.wan.num_layers,
               "audio_inject_layers must be ascending numbers of blocks");
  json.require(config.wan.dim % 4 == 0, "dim must be a multiple of 4 for the audio encoder's groups");
  return config;
}

}  // namespace wan
