// Workloads and machines for tests of plans: the sizes of A14B without its files.
#pragma once

#include "engine/request/known_cards.h"
#include "engine/residency/machine.h"
#include "engine/residency/workload.h"

namespace wan::plans {

/// A network of equal blocks; `made`: whether they lie on the device in another form than in the file.
inline NetworkSizes network(Network which, size_t blocks, uint64_t block, uint64_t outside, bool made = false) {
  NetworkSizes sizes;
  sizes.network = which;
  sizes.outside = sizes.outside_file = outside;
  const uint64_t file = made ? 2 * block : block;
  sizes.blocks.assign(blocks, BlockSizes{block, file, made ? block : 0});
  return sizes;
}

/// Weights of a block in millions of bytes: bf16, fp8 with scales, Q4_K.
inline constexpr uint64_t kBf16 = 702'800'000, kFp8 = 351'700'000, kQ4 = 198'000'000;

inline Demand demand(const Extent& extent) {
  const double tokens = double(extent.tokens()), d = 5120, f = 13824;
  Demand demand;
  demand.text = 250'000'000;
  demand.denoise = 840'000'000 + uint64_t(tokens * (2 * d * 4 + 2 * d * 2 + 2 * f * 2));
  demand.vae_shared = uint64_t(43 * 96 * 2) * uint64_t(extent.height * extent.width);
  demand.vae_own = uint64_t(87 * 96 * 2) * uint64_t(extent.height * extent.width);
  demand.block = {2 * tokens * (6 * d * d + 2 * d * f), 4 * tokens * (tokens + 512) * d, 52 * tokens * d};
  demand.rest = {2 * tokens * d * 128, 0, tokens * d * 16};
  demand.text_work = {4.7e12, 0, 0};
  demand.decode_work = {double(extent.frames * extent.height * extent.width) * 8.56e6 * 1.6, 0, 0};
  return demand;
}

/// Text to video with 40 steps, 26 of them with the high-noise expert, both with guidance.
inline Workload a14b(const Extent& extent, uint64_t block, bool made = false) {
  Workload workload;
  workload.extent = extent;
  workload.high_steps = 26;
  workload.low_steps = 14;
  workload.high_forwards = 52;
  workload.low_forwards = 28;
  workload.networks = {{Network::TextEncoder, network(Network::TextEncoder, 24, 385'900'000, 2'100'000'000)},
                       {Network::HighNoise, network(Network::HighNoise, 40, block, 470'000'000, made)},
                       {Network::LowNoise, network(Network::LowNoise, 40, block, 470'000'000, made)},
                       {Network::Vae, network(Network::Vae, 0, 0, 260'000'000)}};
  workload.demand = demand;
  return workload;
}

/// A card with so many bytes to take, 64 GB of host memory, and the link and the disk of most machines.
inline Machine card(uint64_t budget, const char* name = "RTX 4090") {
  Machine machine;
  take_card(machine, *card_named(name));
  machine.device_total = machine.device_free = machine.budget = budget;
  set_host(machine, 64'000'000'000);
  machine.disk = 3e9;
  machine.host_linear = 600e9;
  return machine;
}

}  // namespace wan::plans
