// The sizes of a model's networks, from the headers of its files alone.
#pragma once

#include <map>

#include "engine/residency/block_sizes.h"

namespace wan {

struct Placement;

/// Of one network on the placement: it is built on the meta device, from headers alone. `copied`: as on a card, also where
/// the placement maps files. Throws ModelError.
NetworkSizes network_sizes(Network network, const ModelParts& parts, const Placement& placement, bool copied = false);
/// Of all networks of the model. Throws ModelError.
std::map<Network, NetworkSizes> network_sizes(const ModelParts& parts, const Placement& placement, bool copied = false);

}  // namespace wan
