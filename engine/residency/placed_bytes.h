// What the networks of a model take of a device, from their headers alone.
#pragma once

#include <cstdint>

#include "engine/residency/device.h"
#include "engine/residency/parts.h"

namespace wan {

/// Builds a network from the headers of its files and its config alone, as loading does: every tensor must be there, in
/// its shape and whole. Throws ModelError.
void check_network(Network network, const ModelParts& parts);

/// Bytes a network's weights take on the placement once they are loaded: it is built on the meta device, from headers
/// alone. 0 on the CPU without a budget, where the mapped files serve, and for the audio encoder, which stays there.
/// Throws ModelError.
uint64_t placed_bytes(Network network, const ModelParts& parts, const Placement& placement);

/// Whether all networks of the model and `working` bytes of activations fit into `available` bytes of the placement at
/// once; on the CPU they do. For placements without a budget. Throws ModelError.
bool all_fit(const ModelParts& parts, const Placement& placement, uint64_t working, uint64_t available);

}  // namespace wan
