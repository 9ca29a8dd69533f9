// What the weights of a network take, block by block.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/residency/parts.h"

namespace wan {

/// In a slot each stored tensor begins at a multiple of so many bytes.
inline constexpr uint64_t kSlotAlignment = 256;

/// One block of a transformer or of the text encoder.
struct BlockSizes {
  uint64_t device = 0;  // its stored tensors in a slot, each aligned
  uint64_t file = 0;    // its tensors in the files
  uint64_t made = 0;    // of `device`, what differs from the file's bytes (cast, encoded): a copy in its host image
};

struct NetworkSizes {
  Network network = Network::Vae;
  bool mapped = false;             // the files serve where they are: nothing is copied
  uint64_t outside = 0;            // bytes on the device of what is in no block
  uint64_t outside_file = 0;       // the same in the files
  std::vector<BlockSizes> blocks;  // empty: a network that has none (VAE, audio encoder)

  /// FLOPs of the products of one row (a token) with all matrices of the blocks, by twos: 2 for each of their weights.
  double block_flops = 0;

  uint64_t device() const;  // all of it, whole
  uint64_t file() const;
  uint64_t slot() const;  // that holds any block: the largest
};

/// Of two networks of which the second moves into the first's memory block by block.
NetworkSizes joined(const NetworkSizes& first, const NetworkSizes& second);

}  // namespace wan
