#include "engine/residency/vae_way.h"

namespace wan {

const char* vae_way_name(VaeWay way) {
  constexpr const char* kNames[] = {"own windows", "shared windows", "tiles"};
  return kNames[size_t(way)];
}

bool card_takes_tiles(uint64_t whole, uint64_t total) {
  constexpr uint64_t kGiB = uint64_t(1) << 30;
  return whole > budget_of((total + kGiB - 1) / kGiB * kGiB, /*has_display=*/false);
}

Demand demand_on(const Workload& workload, const Machine& machine, const Extent& extent) {
  Demand demand = workload.demand(extent);
  if (!machine.is_card) demand.vae_tiles = demand.encode_tiles = 0;
  if (!machine.is_card || machine.stands_in || demand.vae_tiles == 0) return demand;
  const auto vae = workload.networks.find(Network::Vae);
  const uint64_t weights = vae == workload.networks.end() ? 0 : vae->second.device();
  if (card_takes_tiles(weights + demand.vae_shared, machine.device_total))
    demand.vae_own = demand.vae_shared = demand.encode = 0;
  else
    demand.vae_tiles = demand.encode_tiles = 0;
  return demand;
}

}  // namespace wan
