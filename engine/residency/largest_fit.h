// Whether a job can run on a machine at all, and which size would.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/residency/machine.h"
#include "engine/residency/workload.h"

namespace wan {

/// A phase that has no room even where all blocks are streamed.
struct Shortage {
  std::string phase;  // "text", "encode", "denoise" or "decode"
  uint64_t bytes;     // that it needs at least
};

/// The first such phase at this size; nothing where the job can run.
std::optional<Shortage> shortage(const Workload& workload, const Machine& machine, const Extent& extent);

/// "832x480 with 81 frames, or 1280x720 with 29 frames": the largest of the usual sizes in the shape of the workload's
/// that fits with its frames, and the most frames that fit at its size. Empty where nothing fits.
std::string largest_fit(const Workload& workload, const Machine& machine);

/// Throws InvalidRequest (field Machine::budget_field; memory where the host has too little) with what is needed, what
/// is there and the largest setting that fits.
void check_room(const Workload& workload, const Machine& machine);

}  // namespace wan
