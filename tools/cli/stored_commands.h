// The commands about what an earlier run stored: the request in a video, and latents.
#pragma once

#include "engine/job/single.h"
#include "tools/cli/command_line.h"
#include "tools/cli/console.h"

namespace wan {

/// How the flags of a command that renders one video say it is to be run.
SingleOptions single_options(const Command& command, Contexts& contexts);

/// Prints what a video says of itself. Throws InvalidRequest where it says nothing.
void run_show(const Command& command);
/// Renders the request that is stored in a video again. Throws OtherFiles, and as `render`.
void run_replay(const Command& command, Contexts& contexts, Console& console);
/// Decodes saved latents. Throws OtherFiles, and as `decode_saved`.
void run_decode(const Command& command, Contexts& contexts, Console& console);

}  // namespace wan
