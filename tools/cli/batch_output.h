// What a batch came to, for people and for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/job/scheduler.h"

namespace wan {

/// A line for each job (line of the manifest, state, seconds, output; its error below it), and one with the sums.
std::string to_text(const RunResult& result);

/// {"jobs": [{"line", "task", "seed", "out", "state": done|kept|failed|left, "seconds", "error"}], "done", "kept",
/// "failed", "left", "cancelled", "prompts_encoded", "inputs_encoded", "expert_loads"}.
nlohmann::ordered_json to_json(const RunResult& result);

/// Writes to_json to `path`, whole or not at all, with "shard" where the run was one: "3/8". Throws std::runtime_error
/// where the disk refuses.
void write_report(const std::string& path, const RunResult& result, const std::string& shard = {});

}  // namespace wan
