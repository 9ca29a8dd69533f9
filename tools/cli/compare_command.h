// The command that measures how near one video is to another.
#pragma once

#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan {

/// Prints what was found, as a table or, with --json, as one JSON object, and draws --plot. Throws as compare_videos and
/// load_lpips (engine/compare), InvalidRequest where the plot's file is there already, std::runtime_error where it cannot be
/// written.
void run_compare(const Command& command, Console& console);

}  // namespace wan
