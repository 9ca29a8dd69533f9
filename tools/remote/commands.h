// The commands about one job of a server.
#pragma once

#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan::remote {

/// Each returns the exit code of a command that was carried out. They throw InvalidRequest (2), Cancelled (128 and the
/// signal), and std::runtime_error (1).

/// Uploads what the request names, sends it, and prints its id alone.
int run_submit(const Command& command, Console& console);
/// Prints one line, or as JSON what the server says.
int run_status(const Command& command, Console& console);
/// Shows the job until it ends, and writes its video.
int run_watch(const Command& command, Console& console);
int run_cancel(const Command& command, Console& console);
/// Prints the lines of its log, with `follow` those that come, too.
int run_logs(const Command& command, Console& console);

}  // namespace wan::remote
