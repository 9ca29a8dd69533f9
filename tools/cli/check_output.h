// What `wan-infer check` says of its jobs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/job/check.h"

namespace wan {

/// 0: all can run; 2: a request, an input or an output is wrong; 3: a model is; 5: a prompt has a blocked
/// word. The lowest that is not 0 counts.
int exit_code_of(const std::vector<CheckResult>& results);

/// A block of lines for each job: its name and what was found. Fields of a job that is no line of a manifest are flags of
/// `command`.
std::string to_text(const std::vector<CheckResult>& results, const std::string& command = {});
/// {"fits": bool, "jobs": [{"line", "out", "fits", "notes": [...], "errors": [{"field", "text"}]}]}
nlohmann::ordered_json to_json(const std::vector<CheckResult>& results);

}  // namespace wan
