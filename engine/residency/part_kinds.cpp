#include "engine/residency/part_kinds.h"

#include <algorithm>
#include <array>

#include "engine/request/params.h"

namespace wan {

namespace {

constexpr std::array kOfficial = {
    UsualPlace{Network::HighNoise, "high_noise_model"},
    UsualPlace{Network::LowNoise, "low_noise_model"},
    UsualPlace{Network::Speech, "."},
    UsualPlace{Network::TextEncoder, "models_t5_umt5-xxl-enc-bf16.pth"},
    UsualPlace{Network::Vae, "Wan2.1_VAE.pth"},
    UsualPlace{Network::AudioEncoder, "wav2vec2-large-xlsr-53-english"},
};
constexpr std::array kDiffusers = {
    UsualPlace{Network::HighNoise, "transformer"},      UsualPlace{Network::LowNoise, "transformer_2"},
    UsualPlace{Network::Speech, "transformer"},         UsualPlace{Network::TextEncoder, "text_encoder"},
    UsualPlace{Network::AudioEncoder, "audio_encoder"}, UsualPlace{Network::Vae, "vae"},
};

}  // namespace

PartKind kind_of(Network network, Task task) {
  switch (network) {
    case Network::TextEncoder:
      return {Model::TextEncoder, "a UMT5 encoder"};
    case Network::AudioEncoder:
      return {Model::AudioEncoder, "a Wav2Vec2 audio encoder"};
    case Network::Speech:
      return {Model::Speech, "a speech-to-video transformer"};
    case Network::Vae:
      return {Model::Vae, "a Wan 2.1 VAE"};
    case Network::HighNoise:
    case Network::LowNoise:
      break;
  }
  if (task == Task::I2V) return {Model::ImageExpert, "an image-to-video transformer"};
  return {Model::TextExpert, "a text-to-video transformer"};
}

std::string flag_of(Network network) {
  return find_parameter(field_of(network))->flag();
}

std::span<const UsualPlace> official_places() {
  return kOfficial;
}

std::span<const UsualPlace> diffusers_places() {
  return kDiffusers;
}

std::string official_name(Network network) {
  const auto is_it = [&](const UsualPlace& place) { return place.network == network; };
  const std::string path = std::find_if(kOfficial.begin(), kOfficial.end(), is_it)->path;
  return path == "." ? "diffusion_pytorch_model-00001-of-00004.safetensors" : path;
}

}  // namespace wan
