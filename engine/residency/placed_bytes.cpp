#include "engine/residency/placed_bytes.h"

#include "engine/residency/builders.h"
#include "engine/residency/open_network.h"

namespace wan {

void check_network(Network network, const ModelParts& parts) {
  planned_bytes(network, parts, Place{}, at::kFloat);
}

uint64_t placed_bytes(Network network, const ModelParts& parts, const Placement& placement) {
  const Place place = place_of(network, placement);
  if (place.mapped && !open_network(network, parts).is_coded()) return 0;
  return planned_bytes(network, parts, place, placement.vae).bytes;
}

bool all_fit(const ModelParts& parts, const Placement& placement, uint64_t working, uint64_t available) {
  uint64_t all = 0;
  for (const auto& [network, part] : parts.networks) all += placed_bytes(network, parts, placement);
  if (placement.device.is_cpu() && all == 0) return true;  // mapped files alone
  return all + working <= available;
}

}  // namespace wan
