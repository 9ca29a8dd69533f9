// This machine, as a plan sees it.
#pragma once

#include "engine/residency/device.h"
#include "engine/residency/machine.h"

namespace wan {

/// Memory as it is free now, and rates: the link's is measured where there is a card (a tenth of a second), the others
/// are those of the card's public sheet, the rest is taken on trust (Machine::assumed). What a job may take is that of
/// the placement's budget where it has one; on the CPU such a budget makes a card of that size out of ordinary memory,
/// to which weights are copied.
///   measure: whether the link is measured; a plan for another card needs no figure of this one.
Machine probed_machine(const Placement& placement, bool measure = true);

/// Bytes a second of copies to `device`, from pinned memory where it is granted. On the CPU: from one part of memory to
/// another.
double measured_link(at::Device device);

}  // namespace wan
