#include "engine/residency/planned_network.h"

#include <utility>

#include "engine/residency/builders.h"
#include "engine/residency/open_network.h"
#include "engine/residency/weight_cache.h"
#include "models/weights/scope.h"

namespace wan {

namespace {

void take_weights(Network network, const ModelPart& part, Weights& weights, const Place& place, at::ScalarType vae) {
  const Checkpoint& headers = weights.checkpoint();
  switch (network) {
    case Network::TextEncoder:
      Umt5Encoder(weights.root(), place.compute);
      break;
    case Network::AudioEncoder:
      Wav2Vec2(weights, audio_config(part, headers));
      break;
    case Network::HighNoise:
    case Network::LowNoise:
      WanModel(weights.root(), expert_config(part, headers), place.compute);
      break;
    case Network::Speech:
      SpeechModel(weights.root(), speech_config(part, headers), place.compute);
      break;
    case Network::Vae:
      vae::Vae(weights, vae::Options{vae});
      weights.ignore("");  // as build_vae
      break;
  }
}

}  // namespace

PlannedNetwork planned_network(Network network, const ModelParts& parts, const Placement& placement, bool copied) {
  Place place = place_of(network, placement);
  if (copied && network != Network::AudioEncoder) {
    place.mapped = false;
    place.as_mapped = place.device.is_cpu();
  }
  Checkpoint headers = open_network(network, parts);
  if (!placement.cache_dir.empty()) headers = cached_headers(network, headers, place);
  place = place.planned();
  Weights weights(std::move(headers), place);
  take_weights(network, parts.networks.at(network), weights, place, placement.vae);
  weights.finish();
  return {weights.checkpoint(), weights.taken(), place.mapped};
}

}  // namespace wan
