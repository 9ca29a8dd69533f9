#include "engine/residency/lying.h"

#include <algorithm>

namespace wan {

static_assert(kSlotAlignment == BlockMemory::kAlignment);

std::optional<Lying> lying_for(const NetworkSizes& sizes, uint64_t room, int64_t most_kept) {
  const auto blocks = int64_t(sizes.blocks.size());
  if (most_kept >= blocks && sizes.device() <= room) return Lying{{blocks, 0}, sizes.device()};
  for (const int64_t slots : {3, 2})
    if (const auto plan = blocks > 0 ? place_streamed(sizes, std::min(slots, blocks), room, most_kept) : std::nullopt)
      return Lying{{plan->kept_blocks, plan->slots}, plan->device_bytes};
  return std::nullopt;
}

std::vector<uint64_t> device_sizes(const NetworkSizes& sizes) {
  std::vector<uint64_t> bytes;
  for (const BlockSizes& block : sizes.blocks) bytes.push_back(block.device);
  return bytes;
}

}  // namespace wan
