// What a request brings along besides its prompt: decoded, resized, and checked against the geometry.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "engine/base/log.h"
#include "engine/job/fetched.h"
#include "engine/request/geometry.h"

namespace wan {

/// CPU tensors; what a task does not take is undefined.
struct Inputs {
  Geometry geometry = {};                  // of the video, settled by the inputs
  at::Tensor image = {}, last_image = {};  // float32 [3, H, W], about [-1, 1]
  at::Tensor video = {};                   // uint8 [F, H, W, 3], F = rendered frames
  std::string keep_audio_from = {};        // video file whose sound goes into the result; empty: none
};

/// The request's own geometry: what it leaves open is 0.
Geometry asked_geometry(const Request& request);

/// Image to video. Throws InvalidRequest naming the field.
Inputs load_images(const Request& request, const InputFiles& files);
/// Video to video: where no length was asked for, that of the file. Throws InvalidRequest naming the field.
Inputs load_video(const Request& request, const InputFiles& files, const Log& log);

}  // namespace wan
