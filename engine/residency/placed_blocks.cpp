#include "engine/residency/placed_blocks.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace wan {

namespace {

/// Of kept blocks, and of slots that each hold any of the others.
uint64_t bytes_of(const NetworkSizes& sizes, const std::vector<bool>& kept, int64_t slots) {
  uint64_t sum = sizes.outside, slot = 0;
  for (size_t i = 0; i < sizes.blocks.size(); ++i) {
    if (kept[i])
      sum += sizes.blocks[i].device;
    else
      slot = std::max(slot, sizes.blocks[i].device);
  }
  return sum + uint64_t(slots) * slot;
}

}  // namespace

std::optional<NetworkPlan> place_streamed(const NetworkSizes& sizes, int64_t slots, uint64_t room, int64_t most_kept) {
  const int64_t blocks = int64_t(sizes.blocks.size());
  for (int64_t kept = std::min(blocks - slots, most_kept); kept >= 0; --kept) {
    const uint64_t bytes = bytes_of(sizes, spread_evenly(blocks, kept), slots);
    if (bytes > room) continue;
    NetworkPlan plan;
    plan.network = sizes.network;
    plan.residency = Residency::Streamed;
    plan.blocks = blocks;
    plan.kept_blocks = kept;
    plan.slots = slots;
    plan.device_bytes = bytes;
    return plan;
  }
  return std::nullopt;
}

namespace {

/// Holds as many images as the host has room for. What differs from the file is a copy, which is pinned as far as may be;
/// the rest are the file's pages.
void hold_images(NetworkPlan& plan, const NetworkSizes& sizes, const Room& room) {
  const std::vector<bool> kept = kept_blocks(plan);
  const int64_t streamed = plan.blocks - plan.kept_blocks;
  uint64_t all = 0;
  for (size_t i = 0; i < kept.size(); ++i) all += kept[i] ? 0 : sizes.blocks[i].device;
  // Blocks are about of one size: so many of the mean fit.
  plan.held_images = all <= room.host ? streamed : int64_t(double(streamed) * double(room.host) / double(all));
  const std::vector<Image> images = images_of(plan);
  uint64_t pinned = 0;
  bool pins = true;
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] || images[i] == Image::File) continue;
    const BlockSizes& block = sizes.blocks[i];
    plan.host_bytes += block.device;
    pins = pins && 2 * block.made > block.device && pinned + block.made <= room.pinnable;
    if (!pins) continue;
    pinned += block.made;
    ++plan.pinned_images;
  }
}

}  // namespace

const char* residency_name(Residency residency) {
  constexpr const char* kNames[] = {"whole", "streamed", "host"};
  return kNames[size_t(residency)];
}

std::vector<bool> spread_evenly(int64_t count, int64_t marked) {
  std::vector<bool> flags(size_t(count), false);
  for (int64_t i = 0; i < count; ++i) flags[size_t(i)] = (i + 1) * marked / count > i * marked / count;
  // Within each stretch the unmarked ones come last where they are few, so that copies have time before the first.
  if (2 * marked >= count) {
    const int64_t open = count - marked;
    for (int64_t i = 0; i < count; ++i) flags[size_t(i)] = (i + 1) * open / count == i * open / count;
  }
  return flags;
}

std::vector<bool> kept_blocks(const NetworkPlan& plan) {
  return spread_evenly(plan.blocks, plan.kept_blocks);
}

std::vector<Image> images_of(const NetworkPlan& plan) {
  const std::vector<bool> kept = kept_blocks(plan);
  const std::vector<bool> held = spread_evenly(plan.blocks - plan.kept_blocks, plan.held_images);
  std::vector<Image> images;
  int64_t turn = 0, pinned = 0;
  for (const bool stays : kept) {
    if (stays) {
      images.push_back(Image::Pinned);
    } else if (!held[size_t(turn++)]) {
      images.push_back(Image::File);
    } else {
      images.push_back(pinned++ < plan.pinned_images ? Image::Pinned : Image::Pageable);
    }
  }
  return images;
}

Keep keep_for(const std::map<Network, NetworkSizes>& networks, uint64_t working, uint64_t denoise, uint64_t budget) {
  uint64_t all = 0, experts = 0;
  for (const auto& [network, sizes] : networks) {
    if (network == Network::AudioEncoder) continue;
    all += sizes.device();
    if (network == Network::HighNoise || network == Network::LowNoise) experts += sizes.device();
  }
  if (all + working <= budget) return Keep::All;
  return networks.contains(Network::HighNoise) && experts + denoise <= budget ? Keep::Experts : Keep::One;
}

uint64_t least_bytes(const NetworkSizes& sizes) {
  return std::min(sizes.device(), sizes.outside + 2 * sizes.slot());
}

NetworkPlan place_network(const NetworkSizes& sizes, const Room& room) {
  if (sizes.device() <= room.device) {
    NetworkPlan plan;
    plan.network = sizes.network;
    plan.blocks = plan.kept_blocks = int64_t(sizes.blocks.size());
    plan.device_bytes = sizes.device();
    return plan;
  }
  std::optional<NetworkPlan> plan;
  for (const int64_t slots : {3, 2})
    if (!plan && !sizes.blocks.empty()) plan = place_streamed(sizes, slots, room.device);
  if (!plan) throw std::length_error("two blocks and what is in no block have no room");
  hold_images(*plan, sizes, room);
  return *plan;
}

}  // namespace wan
