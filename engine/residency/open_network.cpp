#include "engine/residency/open_network.h"

#include <utility>

#include "engine/residency/unchanged.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/files/mapped_file.h"
#include "models/recognise.h"
#include "models/text/tokenizer/embedded.h"
#include "models/text/tokenizer/tokenizer_json.h"
#include "models/weights/format/format.h"

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

/// That of a text encoder's file.
text::Tokenizer tokenizer_inside(const fs::path& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  if (auto inside = text::embedded_tokenizer(checkpoint)) return std::move(inside->tokenizer);
  throw ModelError(path.string(),
                   "must be a tokenizer (tokenizer.json, spiece.model, a folder with one of them, or a "
                   "text encoder that holds one), is: " +
                       recognise(checkpoint.tensors()).name + "; --tokenizer names another");
}

text::Tokenizer read_tokenizer(const ModelParts& parts) {
  std::error_code ignored;
  const fs::path& path = parts.tokenizer.path;
  if (parts.files_of("tokenizer").empty() && path == parts.path_of(Network::TextEncoder)) return tokenizer_inside(path);
  if (fs::is_directory(path, ignored)) return text::Tokenizer::open(path);
  if (path.extension() == ".json") return text::Tokenizer(text::read_tokenizer_json(path));
  const auto file = MappedFile::open(path);
  if (format_of(*file)) return tokenizer_inside(path);
  refuse_foreign(file->bytes(), Content::Binary, path.string());
  return text::Tokenizer::from(file->bytes(), path.string());
}

}  // namespace

Checkpoint open_network(Network network, const ModelParts& parts) {
  check_unchanged(parts, field_of(network));  // before: a file that is cut or gone is told as one that changed
  const Checkpoint checkpoint = Checkpoint::open(parts.path_of(network));
  check_unchanged(parts, field_of(network));
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
  const std::string field = parts.files_of("tokenizer").empty() ? field_of(Network::TextEncoder) : "tokenizer";
  check_unchanged(parts, field);
  text::Tokenizer tokenizer = read_tokenizer(parts);
  check_unchanged(parts, field);
  return tokenizer;
}

}  // namespace wan
