// A network on the meta device, from headers alone: which weights it takes, and in which form.
#pragma once

#include <vector>

#include "engine/residency/device.h"
#include "engine/residency/parts.h"
#include "models/weights/checkpoint.h"
#include "models/weights/place.h"
#include "models/weights/weight.h"

namespace wan {

struct PlannedNetwork {
  Checkpoint headers;           // by official names
  std::vector<Weight> weights;  // in the order in which the network takes them; copies lie on the meta device
  bool mapped;                  // the files serve where they are, but for codes
};

/// Builds it as loading does on this placement. `copied`: also where the placement would map files (the CPU as a card).
/// Throws ModelError.
PlannedNetwork planned_network(Network network, const ModelParts& parts, const Placement& placement,
                               bool copied = false);

}  // namespace wan
