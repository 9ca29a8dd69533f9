#include "engine/residency/networks.h"

#include <chrono>
#include <utility>

#include "engine/residency/open_network.h"
#include "models/weights/place.h"
#include "models/weights/scope.h"

namespace wan {

namespace {

/// Where a network's weights lie. The audio encoder runs in float32 on the CPU, as in the reference, whatever the
/// placement: a minute of sound takes it seconds. Only transformers have blocks in a lower precision.
Place place_of(Network network, const Placement& placement) {
  switch (network) {
    case Network::AudioEncoder:
      return {};
    case Network::TextEncoder:
    case Network::Vae:
      return Place::on(placement.device, placement.dtype, Precision::Exact, placement.context, placement.weights);
    case Network::HighNoise:
    case Network::LowNoise:
    case Network::Speech:
      return Place::on(placement.device, placement.dtype, placement.precision, placement.context, placement.weights);
  }
  return {};
}

template <typename Model>
struct Built {
  std::unique_ptr<Model> model;
  uint64_t bytes;  // that its weights take on their devices
};

/// Builds a network from a checkpoint whose every tensor it must use.
template <typename Model, typename Make>
Built<Model> build(Checkpoint checkpoint, const Place& place, Make make) {
  Weights weights(std::move(checkpoint), place);
  std::unique_ptr<Model> model = make(weights);
  weights.finish();
  return {std::move(model), bytes_of(weights.taken())};
}

Built<Umt5Encoder> build_text_encoder(Checkpoint checkpoint, const Place& place) {
  return build<Umt5Encoder>(std::move(checkpoint), place, [&](Weights& weights) {
    return std::make_unique<Umt5Encoder>(weights.root(), place.compute);
  });
}

Built<WanModel> build_expert(const ModelPart& part, Checkpoint checkpoint, const Place& place) {
  const WanConfig config = expert_config(part, checkpoint);
  return build<WanModel>(std::move(checkpoint), place, [&](Weights& weights) {
    return std::make_unique<WanModel>(weights.root(), config, place.compute);
  });
}

Built<SpeechModel> build_speech(const ModelPart& part, Checkpoint checkpoint, const Place& place) {
  const SpeechConfig config = speech_config(part, checkpoint);
  return build<SpeechModel>(std::move(checkpoint), place, [&](Weights& weights) {
    return std::make_unique<SpeechModel>(weights.root(), config, place.compute);
  });
}

Built<Wav2Vec2> build_audio_encoder(const ModelPart& part, Checkpoint checkpoint, const Place& place) {
  const Wav2Vec2Config config = audio_config(part, checkpoint);
  return build<Wav2Vec2>(std::move(checkpoint), place,
                         [&](Weights& weights) { return std::make_unique<Wav2Vec2>(weights, config); });
}

Built<vae::Vae> build_vae(Checkpoint checkpoint, const Place& place, at::ScalarType dtype) {
  return build<vae::Vae>(std::move(checkpoint), place,
                         [&](Weights& weights) { return std::make_unique<vae::Vae>(weights, vae::Options{dtype}); });
}

/// Builds any network and returns what its weights take.
uint64_t build_bytes(Network network, const ModelParts& parts, const Place& place, at::ScalarType vae_dtype) {
  const ModelPart& part = parts.networks.at(network);
  Checkpoint headers = open_network(network, parts);
  switch (network) {
    case Network::TextEncoder:
      return build_text_encoder(std::move(headers), place).bytes;
    case Network::AudioEncoder:
      return build_audio_encoder(part, std::move(headers), place).bytes;
    case Network::HighNoise:
    case Network::LowNoise:
      return build_expert(part, std::move(headers), place).bytes;
    case Network::Speech:
      return build_speech(part, std::move(headers), place).bytes;
    case Network::Vae:
      return build_vae(std::move(headers), place, vae_dtype).bytes;
  }
  return 0;
}

}  // namespace

uint64_t placed_bytes(Network network, const ModelParts& parts, const Placement& placement) {
  const Place place = place_of(network, placement).planned();
  if (place.mapped && !open_network(network, parts).is_coded()) return 0;
  return build_bytes(network, parts, place, placement.vae);
}

void check_network(Network network, const ModelParts& parts) {
  build_bytes(network, parts, Place{}.planned(), at::kFloat);
}

bool all_fit(const ModelParts& parts, const Placement& placement, uint64_t working, uint64_t available) {
  uint64_t all = 0;
  for (const auto& [network, part] : parts.networks) all += placed_bytes(network, parts, placement);
  if (placement.device.is_cpu() && all == 0) return true;  // mapped files alone
  return all + working <= available;
}

Networks::Networks(ModelParts parts, const Placement& placement, Keep keep, Log log)
    : parts_(std::move(parts)), placement_(placement), log_(std::move(log)), keep_(keep) {}

Networks::Networks(ModelParts parts, const Placement& placement, uint64_t working, Log log)
    : Networks(parts, placement,
               all_fit(parts, placement, working, available_memory(placement.device)) ? Keep::All : Keep::One,
               std::move(log)) {}

template <typename Model, typename Load>
const Model& Networks::get(std::unique_ptr<Model>& slot, Network network, Load load) {
  if (slot) return *slot;
  if (keep_ == Keep::One) {
    for (const auto& [other, part] : parts_.networks)
      if (other != network && other != Network::AudioEncoder) drop(other);
  }
  auto start = std::chrono::steady_clock::now();
  Checkpoint checkpoint = open_network(network, parts_);
  uint64_t bytes = checkpoint.bytes();
  slot = load(std::move(checkpoint), place_of(network, placement_));
  log_("load", {{"network", name(network)},
                {"bytes", bytes},
                {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
  return *slot;
}

void Networks::warn_of_precision() {
  if (placement_.precision == Precision::Exact || std::exchange(warned_, true)) return;
  log_("warning", {{"text", kUnmeasuredText}});
}

const Umt5Encoder& Networks::text_encoder() {
  return get(text_encoder_, Network::TextEncoder,
             [](Checkpoint file, const Place& place) { return build_text_encoder(std::move(file), place).model; });
}

const WanModel& Networks::expert(bool high) {
  std::unique_ptr<WanModel>& slot = high ? high_ : low_;
  if (!slot) ++expert_loads_;
  const Network network = high ? Network::HighNoise : Network::LowNoise;
  return get(slot, network, [&](Checkpoint file, const Place& place) {
    warn_of_precision();
    return build_expert(parts_.networks.at(network), std::move(file), place).model;
  });
}

const SpeechModel& Networks::speech() {
  if (!speech_) ++expert_loads_;
  return get(speech_, Network::Speech, [&](Checkpoint file, const Place& place) {
    warn_of_precision();
    return build_speech(parts_.networks.at(Network::Speech), std::move(file), place).model;
  });
}

const Wav2Vec2& Networks::audio_encoder() {
  return get(audio_encoder_, Network::AudioEncoder, [&](Checkpoint file, const Place& place) {
    return build_audio_encoder(parts_.networks.at(Network::AudioEncoder), std::move(file), place).model;
  });
}

const vae::Vae& Networks::vae() {
  return get(vae_, Network::Vae, [&](Checkpoint file, const Place& place) {
    return build_vae(std::move(file), place, placement_.vae).model;
  });
}

const vae::Vae& Networks::wide_vae() {
  if (placement_.vae == at::kFloat) return vae();
  log_("vae", {{"dtype", "float32"}, {"reason", "a clip exceeds the range of half precision"}});
  if (placement_.device.is_cuda()) {
    for (const auto& [other, part] : parts_.networks)
      if (other != Network::Vae && other != Network::AudioEncoder) drop(other);
  }
  return get(wide_vae_, Network::Vae,
             [](Checkpoint file, const Place& place) { return build_vae(std::move(file), place, at::kFloat).model; });
}

void Networks::drop(Network network) {
  switch (network) {
    case Network::TextEncoder:
      text_encoder_.reset();
      break;
    case Network::HighNoise:
      high_.reset();
      break;
    case Network::LowNoise:
      low_.reset();
      break;
    case Network::Speech:
      speech_.reset();
      break;
    case Network::AudioEncoder:
      audio_encoder_.reset();
      break;
    case Network::Vae:
      vae_.reset();
      wide_vae_.reset();
      break;
  }
  release_cached(placement_.device);
}

}  // namespace wan
