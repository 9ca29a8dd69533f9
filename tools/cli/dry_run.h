// What --dry-run prints: geometry, and the table of steps with expert and guidance.
#pragma once

#include <string>

#include "engine/request/request.h"

namespace wan {

/// As text for people, or as one line of JSON: {"request": {..}, "rendered_frames": n, "steps": [{..}]}, and "notes" where a
/// preset for few steps has something to say.
std::string dry_run_text(const Request& request);
std::string dry_run_json(const Request& request);

}  // namespace wan
