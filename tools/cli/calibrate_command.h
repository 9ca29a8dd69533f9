// wan-infer calibrate.
#pragma once

#include "engine/residency/contexts.h"
#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan {

/// Measures and writes the file. Throws InvalidRequest where it may not be written or the prompts cannot be read, and what
/// calibrate() throws.
void run_calibrate(const Command& command, Contexts& contexts, Console& console);

}  // namespace wan
