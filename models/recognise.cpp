#include "models/recognise.h"

namespace wan {
namespace {

/// The size of one axis; 0 where tensor or axis are absent.
int64_t axis(const StoredTensors& tensors, const std::string& name, size_t index) {
  const auto found = tensors.find(name);
  return found == tensors.end() || index >= found->second.shape.size() ? 0 : found->second.shape[index];
}

Recognised transformer(const StoredTensors& tensors) {
  const int64_t in_dim = axis(tensors, "patch_embedding.weight", 1);
  const auto audio = tensors.lower_bound("audio_injector.");
  if (audio != tensors.end() && audio->first.starts_with("audio_injector."))
    return {Model::Speech, "speech-to-video transformer"};
  if (in_dim == 16) return {Model::TextExpert, "text-to-video transformer"};
  if (in_dim == 36) return {Model::ImageExpert, "image-to-video transformer"};
  return {{}, "unknown transformer with " + std::to_string(in_dim) + " input channels"};
}

}  // namespace

Recognised recognise(const StoredTensors& tensors) {
  if (tensors.contains("patch_embedding.weight") && tensors.contains("blocks.0.self_attn.q.weight"))
    return transformer(tensors);
  if (tensors.contains("token_embedding.weight") && tensors.contains("blocks.0.attn.q.weight"))
    return {Model::TextEncoder, "UMT5 encoder"};
  if (tensors.contains("encoder.conv1.weight") && tensors.contains("decoder.conv1.weight"))
    return {Model::Vae, "Wan 2.1 VAE"};
  if (tensors.contains("wav2vec2.feature_projection.projection.weight"))
    return {Model::AudioEncoder, "Wav2Vec2 audio encoder"};
  return {{}, "unknown network"};
}

StoredTensors official_names(StoredTensors tensors, Model, const std::string&) {
  return tensors;
}

}  // namespace wan
