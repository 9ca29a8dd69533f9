// The workload of a request.
#pragma once

#include "engine/residency/device.h"
#include "engine/residency/parts.h"
#include "engine/residency/workload.h"

namespace wan {

/// Of a request whose model is known, on the placement; `copied` as network_sizes. Reads headers alone. Throws ModelError.
Workload workload_of(const Request& request, const ModelParts& parts, const Placement& placement, bool copied = false);

/// Of decoding latents of this size alone: the VAE, and the interpolator where the parts have one. Reads headers alone. Throws ModelError.
Workload decode_workload(const ModelParts& parts, const Extent& extent, const Placement& placement);

/// Whether weights are copied in the CPU's memory, where it stands for a card.
bool copies_on_cpu(const Placement& placement);

/// The placement that the request has on a card, whether one is here or not. For plans alone.
Placement placement_on_card(const Request& request);

}  // namespace wan
