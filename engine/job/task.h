// What each task does with its inputs before the sampling. A task is a row in task.cpp and one file with its two
// functions.
#pragma once

#include <string>

#include "engine/base/note.h"
#include "engine/job/conditioning.h"
#include "engine/job/fetched.h"
#include "engine/residency/networks.h"

namespace wan {

/// What a request brings along besides its prompt: decoded, resized, and checked against the geometry. CPU tensors; what
/// a task does not take is undefined.
struct Inputs {
  Geometry geometry = {};                  // of the video, settled by the inputs
  at::Tensor image = {}, last_image = {};  // float32 [3, H, W], about [-1, 1]
  at::Tensor video = {};                   // uint8 [F, H, W, 3], F = rendered frames
  std::string keep_audio_from = {};        // video file whose sound goes into the result; empty: none
};

/// A note where more than a twentieth of an input is cut away to give it the video's shape.
void note_cropping(const char* field, const Size& input, const Geometry& video, Notes& notes,
                   const char* change = "without --width, --height and --aspect-ratio the video has its shape");

/// Null functions: the task has no such input.
struct TaskWork {
  /// Reads and checks the inputs and settles the geometry; what it assumes or leaves out goes to `notes`. Throws
  /// InvalidRequest naming the field.
  Inputs (*load)(const Request& request, const InputFiles& files, Notes& notes);
  /// Runs the VAE on them; the states of the prompts stay undefined. Throws Cancelled between chunks.
  Encoded (*encode)(Networks& networks, const Request& request, const Inputs& inputs, const Run& run);
};

/// Of the tasks that sample a whole video at once; speech goes clip by clip (speech.h).
const TaskWork& work_of(Task task);

}  // namespace wan
