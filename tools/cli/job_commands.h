// The commands about jobs of a manifest, and those that look at jobs without running them.
#pragma once

#include "engine/residency/device.h"
#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan {

/// Renders a manifest, or a shard of it. Returns the exit code: 1 where a job failed. Throws InvalidRequest for the
/// manifest and the work folder, and Cancelled.
int run_batch(const Command& command, Contexts& contexts, Console& console);
/// Prints the plan of a render.
void run_plan(const Command& command, Contexts& contexts);
/// Prints its table of steps and its plan.
void run_dry(const Command& command, Contexts& contexts);
/// Looks whether a render or a manifest can run. Returns the exit code (exit_code_of).
int run_check(const Command& command, Contexts& contexts, Console& console);

}  // namespace wan
