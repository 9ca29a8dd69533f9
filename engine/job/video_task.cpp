#include "engine/job/video_task.h"

#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "engine/frames/vae_clip.h"
#include "engine/media/kept_sound.h"
#include "engine/media/resize.h"
#include "engine/media/video_reader.h"

namespace wan {

namespace {

/// Reads up to `most` frames at the output's size; without resampling, every frame of the file counts.
at::Tensor read_frames(const Request& request, const MediaFile& file, const Geometry& size, int64_t most,
                       Notes& notes) {
  std::optional<Rational> rate;
  if (request.resample_fps) rate = Rational{request.frames_per_second, 1};
  VideoReader reader(file, rate);
  std::vector<at::Tensor> frames;
  while (int64_t(frames.size()) < most) {
    std::optional<VideoFrame> frame = reader.next();
    if (!frame) break;
    frames.push_back(resize_cover(frame->rgb, size.height, size.width));
  }
  if (reader.damaged_packets() > 0)
    notes.add({"video_url", "the video is damaged: " + std::to_string(reader.damaged_packets()) +
                                " packets could not be decoded, and their frames are missing"});
  return at::stack(frames);
}

/// The rendered length is 4n + 1: what the file lacks for that is its last frame, held.
at::Tensor hold_last(const at::Tensor& frames, int64_t count) {
  const int64_t missing = count - frames.size(0);
  if (missing <= 0) return frames.narrow(0, 0, count);
  return at::cat({frames, frames.narrow(0, frames.size(0) - 1, 1).expand({missing, -1, -1, -1})});
}

/// A file with fewer frames than were asked for is an error; without a wish it decides the length.
void settle_length(const Request& request, const MediaFile& file, int64_t frames, Geometry& geometry, Notes& notes) {
  if (frames >= geometry.num_frames) return;
  if (request.num_frames_given)
    throw InvalidRequest(
        "num_frames",
        "must be at most " + std::to_string(frames) + ", the frames that " + file.shown() + " has" +
            (request.resample_fps ? " at " + std::to_string(request.frames_per_second) + " a second" : "") + ", got " +
            std::to_string(request.num_frames));
  geometry.num_frames = frames;
  notes.add(
      {"num_frames", std::to_string(frames) + " frames are made: the video has no more", "--num-frames makes fewer"});
}

}  // namespace

Inputs load_video(const Request& request, const InputFiles& files, Notes& notes) {
  Inputs inputs{.geometry = asked_geometry(request)};
  const VideoInfo info = VideoReader(files.video).info();
  settle_size(request, info.width, info.height, inputs.geometry);
  const at::Tensor frames = read_frames(request, files.video, inputs.geometry, request.rendered_frames(), notes);
  settle_length(request, files.video, frames.size(0), inputs.geometry, notes);
  inputs.video = hold_last(frames, rendered_frames(request.task, inputs.geometry.num_frames));
  // Frames shown at another rate than they were taken would part from their sound.
  const bool same_speed = request.resample_fps || info.rate == Rational{request.frames_per_second, 1};
  if (request.keep_audio && info.has_audio && same_speed) inputs.keep_audio_from = files.video.path;
  if (!inputs.keep_audio_from.empty()) check_kept_sound(files.video, notes);
  if (request.keep_audio && info.has_audio && !same_speed)
    notes.add({"keep_audio",
               "the sound is left out: the video's rate is " + std::to_string(info.rate.value()) + ", the output's " +
                   std::to_string(request.frames_per_second),
               "--resample-fps keeps speed and sound"});
  return inputs;
}

at::Tensor video_latent(const vae::Vae& vae, const at::Tensor& frames, const Run& run) {
  at::Device device = vae.encoder.conv1.weight.device();
  auto chunk = [&](int64_t start, int64_t count) {
    at::Tensor rgb = frames.narrow(0, start, count).to(device, at::kFloat);
    return rgb.div_(255).mul_(2).sub_(1).permute({3, 0, 1, 2});
  };
  return encode_clip(vae, frames.size(0), chunk, run);
}

Encoded encode_video(Networks& networks, const Request&, const Inputs& inputs, const Run& run) {
  Encoded encoded;
  encoded.clean = encode_in_range(networks, [&](const vae::Vae& vae) { return video_latent(vae, inputs.video, run); });
  return encoded;
}

}  // namespace wan
