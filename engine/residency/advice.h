// What would make a planned job faster, each with the seconds that it would then take.
#pragma once

#include <string>
#include <vector>

#include "engine/residency/plan.h"

namespace wan {

/// Another way to ask for the same video.
struct Alternative {
  std::string flag;  // "--weights fp8"
  Workload workload;
};

/// A sentence for each of: more memory on the device, more host memory, a faster link or disk, and the alternatives, that
/// saves a fiftieth of the time or more, and a second.
std::vector<std::string> advice(const Workload& workload, const Machine& machine, const Plan& plan,
                                const std::vector<Alternative>& alternatives = {});

}  // namespace wan
