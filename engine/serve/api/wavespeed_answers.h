// Jobs as WaveSpeed's tasks.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/serve/queue/job.h"

namespace wan::serve {

/// The `data` object of a task: what submit and result answer, and what a webhook gets.
nlohmann::ordered_json wavespeed_task(const Job& job, const std::string& base_url);

}  // namespace wan::serve
