#include "engine/residency/activations.h"

#include <algorithm>

namespace wan {

uint64_t Activations::most() const {
  return std::max({text, denoise, vae});
}

void Activations::widen(const Activations& other) {
  text = std::max(text, other.text);
  denoise = std::max(denoise, other.denoise);
  vae = std::max(vae, other.vae);
  switches = switches || other.switches;
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
  const Demand demand = workload.demand(workload.extent);
  return {.text = demand.text,
          .denoise = demand.denoise,
          .vae = std::max(demand.encode, demand.vae_shared),
          .switches = workload.high_steps > 0 && workload.low_steps > 0};
}

}  // namespace wan
