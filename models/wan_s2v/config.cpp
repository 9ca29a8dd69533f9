#include "models/wan_s2v/config.h"

#include <algorithm>

#include "models/files/config_json.h"
#include "models/files/error.h"
#include "models/names/shapes.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInjectors = "audio_injector.injector";

/// What shapes tell beyond WanConfig; 0 where a tensor is absent.
struct Told {
  int64_t cond_dim, audio_dim, num_audio_token, injectors;
};

Told told_by(const StoredTensors& tensors) {
  const std::string encoder = "casual_audio_encoder.encoder.";
  // Each token has the channels of the clip's one.
  const int64_t local = names::axis(tensors, encoder + "conv1_local.conv.weight", 0);
  const int64_t whole = names::axis(tensors, encoder + "conv1_global.conv.weight", 0);
  return {.cond_dim = names::axis(tensors, "cond_encoder.weight", 1),
          .audio_dim = names::axis(tensors, encoder + "conv1_global.conv.weight", 1),
          .num_audio_token = whole > 0 && local % whole == 0 ? local / whole : 0,
          .injectors = names::count(tensors, kInjectors)};
}

}  // namespace

SpeechConfig SpeechConfig::read(const fs::path& config_json) {
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

SpeechConfig SpeechConfig::of(const StoredTensors& tensors, const std::string& label) {
  SpeechConfig config = kWanS2v14b;
  config.wan = WanConfig::of(tensors, label);
  const Told told = told_by(tensors);
  if (config.wan.num_layers != kWanS2v14b.wan.num_layers ||
      told.injectors != std::ssize(kWanS2v14b.audio_inject_layers))
    throw ModelError(label,
                     "must have 40 blocks and 12 audio injectors where no config.json states which blocks "
                     "hear, has " +
                         std::to_string(config.wan.num_layers) + " and " + std::to_string(told.injectors) +
                         "; put its config.json beside it");
  if (told.cond_dim == 0 || told.audio_dim == 0 || told.num_audio_token == 0)
    throw ModelError(label,
                     "must have a pose encoder (cond_encoder) and an audio encoder (casual_audio_encoder), lacks "
                     "tensors of them; is it a whole transformer?");
  config.cond_dim = told.cond_dim;
  config.audio_dim = told.audio_dim;
  config.num_audio_token = told.num_audio_token;
  return config;
}

SpeechConfig SpeechConfig::find(const fs::path& config_json, const StoredTensors& tensors, const std::string& label) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(config_json, error))) return of(tensors, label);
  const SpeechConfig config = read(config_json);
  config.check(tensors, label, config_json.string());
  return config;
}

void SpeechConfig::check(const StoredTensors& tensors, const std::string& label, const std::string& file) const {
  wan.check(tensors, label, file);
  const Told told = told_by(tensors);
  check_size(file, "cond_dim", cond_dim, label, told.cond_dim);
  check_size(file, "audio_dim", audio_dim, label, told.audio_dim);
  check_size(file, "num_audio_token", num_audio_token, label, told.num_audio_token);
  check_size(file, "the length of audio_inject_layers", std::ssize(audio_inject_layers), label, told.injectors);
}

}  // namespace wan
