// The card a bench runs on: what it is, how its time is taken, what it has been doing.
#pragma once

#include <map>
#include <string>

#include "tools/bench/ceilings.h"
#include "tools/bench/contest.h"
#include "tools/bench/timeline.h"

namespace wan::bench {

/// Whether a CUDA device can be used by this build.
bool has_device();

/// Events of the current stream around the work, and the allocator's peak. Wants has_device().
Stopwatch device_stopwatch(const Effort& effort);

/// Events of the current stream. Wants has_device().
std::unique_ptr<Marks> device_marks();

/// gpu, compute capability, driver, cuda, cudnn, torch. Empty without a device.
std::map<std::string, std::string> device_environment();

/// One line of nvidia-smi: clocks, power, temperature; "unknown" where it is not there. Nothing is set.
std::string device_clocks();

/// l2_read and exp, from our own kernels; empty in builds without them.
std::vector<Probe> device_probes();

}  // namespace wan::bench
