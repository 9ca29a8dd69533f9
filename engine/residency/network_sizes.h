// What the weights of a network take, block by block, from the headers of its files alone.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "engine/residency/parts.h"

namespace wan {

struct Placement;

/// In a slot each stored tensor begins at a multiple of so many bytes.
inline constexpr uint64_t kSlotAlignment = 256;

/// One block of a transformer or of the text encoder.
struct BlockSizes {
  uint64_t device = 0;  // its stored tensors in a slot, each aligned
  uint64_t file = 0;    // its tensors in the files
  uint64_t made = 0;    // of `device`, what differs from the file's bytes (cast, encoded): its host image is a copy
};

struct NetworkSizes {
  Network network = Network::Vae;
  bool mapped = false;             // the files serve where they are: nothing is copied
  uint64_t outside = 0;            // bytes on the device of what is in no block
  uint64_t outside_file = 0;       // the same in the files
  std::vector<BlockSizes> blocks;  // empty: a network that has none (VAE, audio encoder)

  uint64_t device() const;  // all of it, whole
  uint64_t file() const;
  uint64_t slot() const;  // that holds any block: the largest
};

/// Of one network on the placement: it is built on the meta device, from headers alone. Throws ModelError.
NetworkSizes network_sizes(Network network, const ModelParts& parts, const Placement& placement);
/// Of all networks of the model. Throws ModelError.
std::map<Network, NetworkSizes> network_sizes(const ModelParts& parts, const Placement& placement);

}  // namespace wan
