#include "engine/residency/open_network.h"

#include "models/recognise.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// The names of an expert are those of every task.
Model model_of(Network network) {
  switch (network) {
    case Network::TextEncoder:
      return Model::TextEncoder;
    case Network::AudioEncoder:
      return Model::AudioEncoder;
    case Network::Speech:
      return Model::Speech;
    case Network::Vae:
      return Model::Vae;
    case Network::HighNoise:
    case Network::LowNoise:
      break;
  }
  return Model::TextExpert;
}

template <class Config>
Config config_of(const ModelPart& part, const Checkpoint&) {
  return Config::read(part.path / "config.json");
}

}  // namespace

Checkpoint open_network(Network network, const ModelParts& parts) {
  const Checkpoint checkpoint = Checkpoint::open(parts.path_of(network));
  return checkpoint.renamed(official_names(checkpoint.tensors(), model_of(network), checkpoint.label()));
}

WanConfig expert_config(const ModelPart& part, const Checkpoint& checkpoint) {
  return config_of<WanConfig>(part, checkpoint);
}

SpeechConfig speech_config(const ModelPart& part, const Checkpoint& checkpoint) {
  return config_of<SpeechConfig>(part, checkpoint);
}

Wav2Vec2Config audio_config(const ModelPart& part, const Checkpoint& checkpoint) {
  return config_of<Wav2Vec2Config>(part, checkpoint);
}

WanConfig transformer_config(const ModelParts& parts) {
  const Network network = parts.is_speech() ? Network::Speech : Network::HighNoise;
  const Checkpoint checkpoint = open_network(network, parts);
  const ModelPart& part = parts.networks.at(network);
  return parts.is_speech() ? speech_config(part, checkpoint).wan : expert_config(part, checkpoint);
}

text::Tokenizer open_tokenizer(const ModelParts& parts) {
  std::error_code ignored;
  const fs::path& path = parts.tokenizer.path;
  return text::Tokenizer::open(fs::is_directory(path, ignored) ? path : path.parent_path());
}

}  // namespace wan
