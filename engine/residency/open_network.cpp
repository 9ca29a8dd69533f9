#include "engine/residency/open_network.h"

#include <utility>

#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/recognise.h"
#include "models/text/tokenizer/embedded.h"

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

}  // namespace

Checkpoint open_network(Network network, const ModelParts& parts) {
  const Checkpoint checkpoint = Checkpoint::open(parts.path_of(network));
  return checkpoint.renamed(official_names(checkpoint.tensors(), model_of(network), checkpoint.label()));
}

WanConfig expert_config(const ModelPart& part, const Checkpoint& checkpoint) {
  return WanConfig::find(part.path / "config.json", checkpoint.tensors(), checkpoint.label());
}

SpeechConfig speech_config(const ModelPart& part, const Checkpoint& checkpoint) {
  return SpeechConfig::find(part.path / "config.json", checkpoint.tensors(), checkpoint.label());
}

Wav2Vec2Config audio_config(const ModelPart& part, const Checkpoint& checkpoint) {
  return Wav2Vec2Config::find(part.path / "config.json", checkpoint.tensors(), checkpoint.label());
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
  if (fs::is_directory(path, ignored)) return text::Tokenizer::open(path);
  if (path == parts.path_of(Network::TextEncoder)) {
    if (auto inside = text::embedded_tokenizer(Checkpoint::open(path))) return std::move(inside->tokenizer);
    throw ModelError(path.string(), "must hold a tokenizer, holds none; --tokenizer names one");
  }
  if (path.filename() == "tokenizer.json") return text::Tokenizer::open(path.parent_path());
  return text::Tokenizer::from(MappedFile::open(path)->bytes(), path.string());
}

}  // namespace wan
