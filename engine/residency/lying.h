// How a network lies on a device of which so much is free: as a whole, or with some of its blocks streamed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/weights/block_memory.h"

namespace wan {

/// Bytes that a network takes of its device, from headers alone.
struct NetworkSizes {
  uint64_t rest = 0;                  // what lies outside of blocks
  std::vector<uint64_t> blocks = {};  // StreamedBlocks::sizes; empty for a network without blocks

  uint64_t whole() const;
  /// With all blocks streamed through two slots.
  uint64_t least() const;
};

struct Lying {
  BlockPlan blocks = {};
  uint64_t device_bytes = 0;  // weights outside of blocks and the blocks' memory
};

/// With as many kept blocks as fit into `room` bytes, at most `most_kept`; nothing where not even two slots do. All
/// kept is the whole network.
std::optional<Lying> lying_for(const NetworkSizes& sizes, uint64_t room, int64_t most_kept = INT64_MAX);

/// Of two networks that follow each other in one memory: of each block the larger size.
std::vector<uint64_t> shared_sizes(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b);

}  // namespace wan
