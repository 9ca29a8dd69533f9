#include "engine/job/inputs.h"

#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/image_reader.h"
#include "engine/media/resize.h"
#include "engine/media/video_reader.h"
#include "engine/request/geometry.h"

namespace wan {

namespace {

/// Cuts out the wanted shape, where the size is not one that follows the image.
at::Tensor covering(const Request& request, const at::Tensor& rgb) {
  return resize_bicubic(resize_cover(rgb, request.height, request.width), request.height, request.width);
}

void load_images(Request& request, Inputs& inputs) {
  at::Tensor image = read_image(request.image_url, "image_url");
  bool follows = request.width == 0;
  Size size = video_size(request, image.size(1), image.size(0));
  request.width = size.width;
  request.height = size.height;
  // The reference does not keep the last fraction of the image's shape: its size is the nearest multiple of 16.
  inputs.image = follows ? resize_bicubic(image, size.height, size.width) : covering(request, image);
  if (!request.last_image_url.empty())
    inputs.last_image = covering(request, read_image(request.last_image_url, "last_image_url"));
}

/// Reads up to `most` frames at the output's size; without resampling, every frame of the file counts.
at::Tensor read_frames(const Request& request, int64_t most, const Log& log) {
  std::optional<Rational> rate;
  if (request.resample_fps) rate = Rational{request.frames_per_second, 1};
  VideoReader reader(request.video_url, "video_url", rate);
  std::vector<at::Tensor> frames;
  while (int64_t(frames.size()) < most) {
    std::optional<VideoFrame> frame = reader.next();
    if (!frame) break;
    frames.push_back(resize_cover(frame->rgb, request.height, request.width));
  }
  if (reader.damaged_packets() > 0)
    log("warning", {{"text", "the video is damaged: " + std::to_string(reader.damaged_packets()) +
                                 " packets could not be decoded, and their frames are missing"}});
  return at::stack(frames);
}

/// The rendered length is 4n + 1: what the file lacks for that is its last frame, held.
at::Tensor hold_last(const at::Tensor& frames, int64_t count) {
  int64_t missing = count - frames.size(0);
  if (missing <= 0) return frames.narrow(0, 0, count);
  return at::cat({frames, frames.narrow(0, frames.size(0) - 1, 1).expand({missing, -1, -1, -1})});
}

void load_video(Request& request, Inputs& inputs, const Log& log) {
  VideoInfo info = VideoReader(request.video_url, "video_url").info();
  Size size = video_size(request, info.width, info.height);
  request.width = size.width;
  request.height = size.height;
  at::Tensor frames = read_frames(request, request.rendered_frames(), log);
  if (frames.size(0) < request.num_frames) {
    if (request.num_frames_given)
      throw InvalidRequest(
          "num_frames",
          "must be at most " + std::to_string(frames.size(0)) + ", the frames that " + shown_path(request.video_url) + " has" +
              (request.resample_fps ? " at " + std::to_string(request.frames_per_second) + " a second" : "") +
              ", got " + std::to_string(request.num_frames));
    request.num_frames = frames.size(0);
    log("input", {{"num_frames", request.num_frames}});
  }
  inputs.video = hold_last(frames, request.rendered_frames());
  // Frames shown at another rate than they were taken would part from their sound.
  bool same_speed = request.resample_fps || info.rate == Rational{request.frames_per_second, 1};
  if (request.keep_audio && info.has_audio && same_speed) inputs.keep_audio_from = request.video_url;
  if (request.keep_audio && info.has_audio && !same_speed)
    log("input", {{"audio", "left out: the video's rate is " + std::to_string(info.rate.value()) + ", the output's " +
                                std::to_string(request.frames_per_second) + "; --resample-fps keeps the speed"}});
}

}  // namespace

Inputs load_inputs(Request& request, const Log& log) {
  Inputs inputs;
  if (request.task == Task::I2V) load_images(request, inputs);
  if (request.task == Task::V2V) load_video(request, inputs, log);
  return inputs;
}

}  // namespace wan
