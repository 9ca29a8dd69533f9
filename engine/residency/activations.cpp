#include "engine/residency/activations.h"

#include <algorithm>

namespace wan {

uint64_t Activations::most() const {
  return std::max({text, denoise, vae + interpolation});
}

void Activations::widen(const Activations& other) {
  text = std::max(text, other.text);
  denoise = std::max(denoise, other.denoise);
  const auto least = [](const Activations& of) { return of.vae_tiles > 0 ? of.vae_tiles : of.vae; };
  const uint64_t tiles = std::max(least(*this), least(other));
  vae = std::max(vae, other.vae);
  vae_tiles = tiles < vae ? tiles : 0;
  switches = switches || other.switches;
  interpolation = std::max(interpolation, other.interpolation);
}

uint64_t Activations::of(Network network) const {
  switch (network) {
    case Network::TextEncoder:
      return text;
    case Network::HighNoise:
    case Network::LowNoise:
    case Network::Speech:
      return denoise;
    case Network::Vae:
      return vae;
    case Network::AudioEncoder:
      return 0;
  }
  return 0;
}

Activations activations_of(const Workload& workload) {
  return activations_of(workload, workload.demand(workload.extent));
}

Activations activations_of(const Workload& workload, const Demand& demand) {
  const uint64_t whole = std::max(demand.encode, demand.vae_shared),
                 tiles = std::max(demand.encode_tiles, demand.vae_tiles);
  return {.text = demand.text,
          .denoise = demand.denoise,
          .vae = whole > 0 ? whole : tiles,
          .vae_tiles = whole > 0 ? tiles : 0,
          .switches = workload.high_steps > 0 && workload.low_steps > 0,
          .interpolation = demand.interpolation};
}

}  // namespace wan
