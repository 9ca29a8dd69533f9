// The command that draws frames into a video that is there.
#pragma once

#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan {

class Contexts;

/// Throws as finish_video (engine/job/finish.h), and InvalidRequest where nothing is to be drawn, or OUT is there already.
void run_finish(const Command& command, Contexts& contexts, Console& console);

}  // namespace wan
