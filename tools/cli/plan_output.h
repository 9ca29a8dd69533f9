// What `wan-infer plan` prints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/residency/job_plan.h"

namespace wan {

/// A table of phases, what streams, and what would be faster.
std::string to_text(const JobPlan& made);
/// {"fits": true, "machine": {..}, "frames", "width", "height", "keeps_all", "keeps_experts", "prefetches_expert", "vae",
/// "pinned_bytes", "device_bytes", "seconds", "phases": [{"name", "networks": [{..}], ..}], "advice": [..]}: sizes in
/// bytes, times in seconds.
nlohmann::ordered_json to_json(const JobPlan& made);

/// How the weights lie on the device, in a few words: "experts whole, the second moves in", "26 of 40 blocks kept".
std::string way_of(const Plan& plan);

}  // namespace wan
