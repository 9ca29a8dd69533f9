// A manifest at a server: every line is sent once, and every video brought to its place.
#pragma once

#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan::remote {

/// Sends what the journal of the work folder does not know as sent, looks at all of it until it has ended, and writes the
/// videos. Returns the exit code: 1 where a job failed. The same command goes on where an ended one was. Throws
/// InvalidRequest for the manifest and the work folder, Cancelled, std::runtime_error.
int run_batch(const Command& command, Console& console);

}  // namespace wan::remote
