// Seconds that a network takes where its weights lie as a plan says.
#pragma once

#include "engine/residency/cost_model.h"
#include "engine/residency/placed_blocks.h"

namespace wan {

/// Before its first forward: reading all files but those of blocks that are read at each use, while what stays on the
/// device goes through the link. Of mapped files: reading them once.
double loading_time(const NetworkSizes& sizes, const NetworkPlan& placed, const Machine& machine);

/// Its forwards, each block of which computes `block` seconds and whose start takes `rest`.
Streaming streaming_of(const NetworkSizes& sizes, const NetworkPlan& placed, const Machine& machine, double block,
                       double rest);

/// Bytes that pass through its slots in one forward.
uint64_t streamed_bytes(const NetworkSizes& sizes, const NetworkPlan& placed);

}  // namespace wan
