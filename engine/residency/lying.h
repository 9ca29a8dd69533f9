// How a network lies on a device of which so much is free: as a whole, or with some of its blocks streamed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/residency/placed_blocks.h"
#include "models/weights/block_memory.h"

namespace wan {

struct Lying {
  BlockPlan blocks = {};
  uint64_t device_bytes = 0;  // weights outside of blocks and the blocks' memory
};

/// Whole where it fits into `room` bytes, else as place_streamed has it, through three slots or two; nothing where not even
/// two have room. `most_kept`: blocks that may stay; all of them is the whole network. A network of one block that may not
/// stay has one slot: no less memory, but taken anew.
std::optional<Lying> lying_for(const NetworkSizes& sizes, uint64_t room, int64_t most_kept = INT64_MAX);

/// BlockSizes::device of each block: what BlockMemory takes.
std::vector<uint64_t> device_sizes(const NetworkSizes& sizes);

}  // namespace wan
