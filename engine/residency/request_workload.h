// The workload of a request.
#pragma once

#include "engine/residency/device.h"
#include "engine/residency/parts.h"
#include "engine/residency/workload.h"

namespace wan {

/// Of a request whose model is known, on the placement; `copied` as network_sizes. Reads headers alone. Throws ModelError.
Workload workload_of(const Request& request, const ModelParts& parts, const Placement& placement, bool copied = false);

/// The placement that the request has on a card, whether one is here or not. For plans alone.
Placement placement_on_card(const Request& request);

}  // namespace wan
