#include "engine/residency/vae_way.h"

#include <algorithm>

namespace wan {

const char* vae_way_name(VaeWay way) {
  constexpr const char* kNames[] = {"own windows", "shared windows", "tiles"};
  return kNames[size_t(way)];
}

uint64_t room_of_card(uint64_t total) {
  constexpr uint64_t kGiB = uint64_t(1) << 30;
  constexpr uint64_t kDriver = 600'000'000;  // what the driver keeps and what a process takes before its first tensor
  const uint64_t memory = (total + kGiB - 1) / kGiB * kGiB;
  return budget_of(memory - std::min(memory, kDriver), /*has_display=*/true);
}

bool card_takes_tiles(uint64_t whole, uint64_t total, uint64_t allowed) {
  return whole > std::min(room_of_card(total), allowed);
}

Demand demand_on(const Workload& workload, const Machine& machine, const Extent& extent) {
  Demand demand = workload.demand(extent);
  if (!machine.is_card) demand.vae_tiles = demand.encode_tiles = 0;
  if (!machine.is_card || machine.stands_in || demand.vae_tiles == 0) return demand;
  const auto vae = workload.networks.find(Network::Vae);
  const uint64_t weights = vae == workload.networks.end() ? 0 : vae->second.device();
  const bool tiles =
      workload.in_tiles.value_or(card_takes_tiles(weights + demand.vae_shared, machine.device_total, machine.allowed));
  if (tiles)
    demand.vae_own = demand.vae_shared = demand.encode = 0;
  else
    demand.vae_tiles = demand.encode_tiles = 0;
  return demand;
}

}  // namespace wan
