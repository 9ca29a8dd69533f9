// What a request brings along besides its prompt: decoded, resized, and checked against the geometry.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "engine/base/log.h"
#include "engine/request/request.h"

namespace wan {

/// CPU tensors; what a task does not take is undefined.
struct Inputs {
  at::Tensor image, last_image;  // float32 [3, H, W], about [-1, 1]
  at::Tensor video;              // uint8 [F, H, W, 3], F = rendered frames
  std::string keep_audio_from;   // video file whose sound goes into the result; empty: none
};

/// Reads the media of a request and settles in it what follows from them: width and height under `auto`, num_frames
/// where it was not given. Throws InvalidRequest naming the field.
Inputs load_inputs(Request& request, const Log& log);

}  // namespace wan
