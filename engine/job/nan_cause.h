// Why a stage of a job gave NaN or Inf.
#pragma once

#include <functional>
#include <vector>

#include "engine/job/conditioning.h"
#include "engine/job/job.h"

namespace wan {

/// Runs `work`, which uses `networks` of the job's model. Where it throws NotFinite: ModelError where a tensor in the
/// files of these networks is NaN or Inf, for which they are read whole; else NotFinite, which names the job's LoRAs.
void explaining_nan(const Job& job, const std::vector<Network>& networks, Progress& progress,
                    const std::function<void()>& work);

/// Throws NotFinite unless all that was encoded is finite. `what` gave it: "the text encoder".
void check_finite(const Encoded& encoded, const char* what);

}  // namespace wan
