// wan-infer convert: one network's checkpoint in another form.
#pragma once

#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan {

/// Converts `command.input` to the file `command.output` and prints how far the new values are from the old. Goes on with
/// what an interrupted run left. Throws InvalidRequest for the output, ModelError for the input, and Cancelled.
void run_convert(const Command& command, Console& console);

}  // namespace wan
