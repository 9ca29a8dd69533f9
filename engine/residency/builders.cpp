#include "engine/residency/builders.h"

#include "engine/residency/open_network.h"
#include "models/weights/scope.h"

namespace wan {

namespace {

template <typename Model>
concept HasBlocks = requires(Model& model) {
  model.streamed;
  model.blocks.size();
};

/// Builds a network from a checkpoint whose every tensor it must use.
template <typename Model, typename Make>
Built<Model> build(Checkpoint checkpoint, const Place& place, const Loading& loading, Make make) {
  Weights weights(std::move(checkpoint), place);
  weights.ask(loading.check);
  const Streaming* const streaming = loading.streaming;
  if (streaming) weights.plan(StreamedBlocks::kBlocks);
  std::unique_ptr<Model> model = make(weights);
  weights.finish();
  Built<Model> built{nullptr, bytes_of(weights.taken()), {}, {}};
  built.sizes.outside = built.bytes;
  if constexpr (HasBlocks<Model>) {
    for (const uint64_t bytes : StreamedBlocks::sizes(weights, int64_t(model->blocks.size())))
      built.sizes.blocks.push_back({.device = bytes});
    built.sizes.outside -= bytes_of(weights.taken(StreamedBlocks::kBlocks));
    if (streaming)
      model->streamed =
          std::make_shared<StreamedBlocks>(weights, streaming->memory, streaming->copier, streaming->room);
  }
  built.weights = weights.taken();
  built.model = std::move(model);
  return built;
}

}  // namespace

Place place_of(Network network, const Placement& placement) {
  Precision precision = Precision::Exact;
  switch (network) {
    case Network::AudioEncoder:
      return {};
    case Network::TextEncoder:
    case Network::Vae:
      break;
    case Network::HighNoise:
    case Network::LowNoise:
    case Network::Speech:
      precision = placement.precision;
      break;
  }
  Place place = Place::on(placement.device, placement.dtype, precision, placement.context, placement.weights);
  if (placement.budget && placement.device.is_cpu()) {
    place.mapped = false;
    place.as_mapped = true;
  }
  return place;
}

Built<Umt5Encoder> build_text_encoder(Checkpoint checkpoint, const Place& place, const Loading& loading) {
  return build<Umt5Encoder>(std::move(checkpoint), place, loading, [&](Weights& weights) {
    return std::make_unique<Umt5Encoder>(weights.root(), place.compute);
  });
}

Built<WanModel> build_expert(const ModelPart& part, Checkpoint checkpoint, const Place& place, const Loading& loading) {
  const WanConfig config = expert_config(part, checkpoint);
  return build<WanModel>(std::move(checkpoint), place, loading, [&](Weights& weights) {
    return std::make_unique<WanModel>(weights.root(), config, place.compute);
  });
}

Built<SpeechModel> build_speech(const ModelPart& part, Checkpoint checkpoint, const Place& place,
                                const Loading& loading) {
  const SpeechConfig config = speech_config(part, checkpoint);
  return build<SpeechModel>(std::move(checkpoint), place, loading, [&](Weights& weights) {
    return std::make_unique<SpeechModel>(weights.root(), config, place.compute);
  });
}

Built<Wav2Vec2> build_audio_encoder(const ModelPart& part, Checkpoint checkpoint, const Place& place) {
  const Wav2Vec2Config config = audio_config(part, checkpoint);
  return build<Wav2Vec2>(std::move(checkpoint), place, {},
                         [&](Weights& weights) { return std::make_unique<Wav2Vec2>(weights, config); });
}

Built<vae::Vae> build_vae(Checkpoint checkpoint, const Place& place, at::ScalarType dtype, const Loading& loading) {
  return build<vae::Vae>(std::move(checkpoint), place, loading, [&](Weights& weights) {
    auto model = std::make_unique<vae::Vae>(weights, vae::Options{dtype});
    weights.ignore("");  // published files hold others as well, which note_search tells
    return model;
  });
}

PlannedBytes planned_bytes(Network network, const ModelParts& parts, const Place& place, at::ScalarType vae_dtype) {
  const Place planned = place.planned();
  const ModelPart& part = parts.networks.at(network);
  Checkpoint headers = open_network(network, parts);
  const auto of = [](const auto& built) { return PlannedBytes{built.bytes, built.sizes}; };
  switch (network) {
    case Network::TextEncoder:
      return of(build_text_encoder(std::move(headers), planned));
    case Network::AudioEncoder:
      return of(build_audio_encoder(part, std::move(headers), planned));
    case Network::HighNoise:
    case Network::LowNoise:
      return of(build_expert(part, std::move(headers), planned));
    case Network::Speech:
      return of(build_speech(part, std::move(headers), planned));
    case Network::Vae:
      return of(build_vae(std::move(headers), planned, vae_dtype));
  }
  return {};
}

}  // namespace wan
