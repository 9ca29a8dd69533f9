#include "engine/residency/planned_network.h"

#include <utility>

#include "engine/residency/open_network.h"
#include "models/umt5/encoder.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "models/wan_s2v/model.h"
#include "models/wav2vec2/model.h"
#include "models/weights/scope.h"

namespace wan {

namespace {

bool is_transformer(Network network) {
  return network == Network::HighNoise || network == Network::LowNoise || network == Network::Speech;
}

/// As Networks places it; the audio encoder stays on the CPU.
Place place_of(Network network, const Placement& placement, bool copied) {
  if (network == Network::AudioEncoder) return Place{}.planned();
  const Precision precision = is_transformer(network) ? placement.precision : Precision::Exact;
  Place place = Place::on(placement.device, placement.dtype, precision, placement.context, placement.weights);
  if (copied) place.mapped = false;
  return place.planned();
}

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
      break;
  }
}

}  // namespace

PlannedNetwork planned_network(Network network, const ModelParts& parts, const Placement& placement, bool copied) {
  const Place place = place_of(network, placement, copied);
  Weights weights(open_network(network, parts), place);
  take_weights(network, parts.networks.at(network), weights, place, placement.vae);
  weights.finish();
  return {weights.checkpoint(), weights.taken(), place.mapped};
}

}  // namespace wan
