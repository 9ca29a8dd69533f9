// The engine's log in the words of a job's log: short lines for whoever sent the job.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/base/log.h"
#include "engine/base/progress.h"

namespace wan {

struct UserLine {
  std::string level;  // INFO WARN DEBUG
  std::string text;
};

/// "loaded the high-noise expert in 12 s"; nothing for events that concern the server alone.
std::optional<UserLine> user_line(std::string_view event, const Log::Fields& fields);

/// "step 3 of 27, high noise", "decoding the video": of a report with which a stage begins, or a step. Nothing for others.
std::string user_text(const Report& report, bool stage_begins);

}  // namespace wan
