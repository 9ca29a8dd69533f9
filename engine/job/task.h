// What each task does with its inputs before the sampling. A task is a row here and one file with its two functions.
#pragma once

#include "engine/job/conditioning.h"

namespace wan {

/// Null functions: the task has no such input.
struct TaskWork {
  /// Reads and checks the inputs and settles the geometry. Throws InvalidRequest naming the field.
  Inputs (*load)(const Request& request, const InputFiles& files, const Log& log);
  /// Runs the VAE on them; the states of the prompts stay undefined. Throws Cancelled between chunks.
  Encoded (*encode)(Networks& networks, const Request& request, const Inputs& inputs, const Run& run);
};

/// Of the tasks that sample a whole video at once; speech goes clip by clip (speech.h).
const TaskWork& work_of(Task task);

}  // namespace wan
