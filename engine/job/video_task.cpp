#include "engine/job/video_task.h"

#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/frames/vae_clip.h"
#include "engine/media/kept_sound.h"
#include "engine/media/resize.h"
#include "engine/media/video_reader.h"
#include "engine/request/params.h"

namespace wan {

namespace {

struct Frames {
  at::Tensor rgb;               // uint8 [n, H, W, 3] of the output's size
  std::vector<Rational> times;  // in the file
  Rational end;                 // of the last one
};

/// Reads up to `most` frames; without resampling, every frame of the file counts.
Frames read_frames(VideoReader& reader, const Geometry& size, int64_t most) {
  Frames frames;
  std::vector<at::Tensor> rgb;
  while (int64_t(rgb.size()) < most) {
    std::optional<VideoFrame> frame = reader.next();
    if (!frame) break;
    rgb.push_back(resize_cover(frame->rgb, size.height, size.width));
    frames.times.push_back(frame->time);
    frames.end = frame->until;
  }
  frames.rgb = at::stack(rgb);
  return frames;
}

/// Whether each frame, shown as frame n at n / rate, comes less than half a frame from its time in the file.
bool keep_their_times(const std::vector<Rational>& times, int64_t rate) {
  for (int64_t n = 0; n < int64_t(times.size()); ++n) {
    const Rational time = times[size_t(n)];
    const Rational early{(2 * n - 1) * time.denominator, 1}, late{(2 * n + 1) * time.denominator, 1};
    const Rational twice{2 * rate * time.numerator, 1};
    if (!(early < twice && twice < late)) return false;
  }
  return true;
}

/// What follows from showing every frame at the output's rate. Without resampling only.
void tell_speed(const Request& request, const Frames& frames, int64_t count, bool loses_sound, Notes& notes) {
  // Of the frames that the file shows; what is rendered besides is cut off.
  const bool all = count >= int64_t(frames.times.size());
  const double end = all ? frames.end.value() : frames.times[size_t(count)].value();
  const std::string file = decimals(end) + " s",
                    shown = decimals(double(count) / double(request.frames_per_second)) + " s";
  const double speed = end * double(request.frames_per_second) / double(count);
  notes.add({"video_url",
             "every frame of the video is shown at " + std::to_string(request.frames_per_second) +
                 " a second, it has " + decimals(double(count) / std::max(end, 1e-3)) +
                 " on average: " + std::to_string(count) + " frames last " + shown + " instead of " + file + ", " +
                 decimals(speed) + " times the speed",
             loses_sound ? "--resample-fps keeps speed and sound" : "--resample-fps keeps the speed"});
  if (!loses_sound) return;
  notes.add({"keep_audio", "the sound is left out: it lasts " + file + " where the picture lasts " + shown,
             "--resample-fps keeps speed and sound"});
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
  const auto usual = find_parameter("num_frames")->accepts(request.task)->value.get<int64_t>();
  if (request.num_frames_given)
    throw InvalidRequest(
        "num_frames",
        "must be at most " + std::to_string(frames) + ", the frames that " + file.shown() + " has" +
            (request.resample_fps ? " at " + std::to_string(request.frames_per_second) + " a second" : "") + ", got " +
            std::to_string(request.num_frames) +
            (frames <= usual ? "; left out, it is " + std::to_string(frames) : ""));
  geometry.num_frames = frames;
  notes.add({"num_frames",
             std::to_string(frames) + (frames == 1 ? " frame is made" : " frames are made") +
                 ": the video has no more" +
                 (request.resample_fps ? " at " + std::to_string(request.frames_per_second) + " a second" : ""),
             "--num-frames makes fewer"});
}

/// Where nobody asked for a length, what is left out of a longer video is told.
void note_rest(const Request& request, const VideoInfo& info, int64_t read, const Geometry& geometry, bool more,
               Notes& notes) {
  if (request.num_frames_given || (!more && read <= geometry.num_frames)) return;
  notes.add({"num_frames",
             "the first " + std::to_string(geometry.num_frames) + " frames of the video are used, and it has more" +
                 (info.seconds > 0 ? ": it lasts " + decimals(info.seconds) + " s" : ""),
             "--num-frames takes another number"});
}

}  // namespace

Inputs load_video(const Request& request, const InputFiles& files, Notes& notes) {
  Inputs inputs{.geometry = asked_geometry(request)};
  VideoReading how{.deinterlace = request.deinterlace};
  if (request.resample_fps) how.rate = Rational{request.frames_per_second, 1};
  VideoReader reader(files.video, how);
  const VideoInfo info = reader.info();
  settle_size(request, info.width, info.height, inputs.geometry);
  note_cropping("video_url", {info.width, info.height}, inputs.geometry, notes);
  const Frames frames = read_frames(reader, inputs.geometry, request.rendered_frames());
  const bool more = frames.rgb.size(0) >= request.rendered_frames() && reader.next().has_value();
  reader.tell(notes);
  note_rest(request, info, frames.rgb.size(0), inputs.geometry, more, notes);
  settle_length(request, files.video, frames.rgb.size(0), inputs.geometry, notes);
  inputs.video = hold_last(frames.rgb, rendered_frames(request.task, inputs.geometry.num_frames));
  // Frames shown at other times than they were taken would part from their sound.
  const bool in_time = request.resample_fps || keep_their_times(frames.times, request.frames_per_second);
  const bool has_sound = request.keep_audio && info.has_audio;
  if (has_sound && in_time) inputs.keep_audio_from = files.video.path;
  if (!in_time) tell_speed(request, frames, inputs.geometry.num_frames, has_sound, notes);
  if (inputs.keep_audio_from.empty()) return inputs;
  const double seconds = double(inputs.geometry.num_frames) / double(request.frames_per_second);
  check_kept_sound(files.video, container_of(request.out), seconds, notes);
  // Where the picture goes on, the sound that is left out belongs to what is left out of it.
  const bool whole = !more && frames.rgb.size(0) <= inputs.geometry.num_frames;
  if (whole) note_longer_sound(files.video, seconds, double(request.frames_per_second), notes);
  return inputs;
}

at::Tensor video_latent(const vae::Vae& vae, const at::Tensor& frames, const Run& run, int64_t tile_rows) {
  at::Device device = vae.encoder.conv1.weight.device();
  auto chunk = [&](int64_t start, int64_t count) {
    at::Tensor rgb = frames.narrow(0, start, count).to(device, at::kFloat);
    return rgb.div_(255).mul_(2).sub_(1).permute({3, 0, 1, 2});
  };
  return encode_clip(vae, frames.size(0), chunk, run, tile_rows);
}

Encoded encode_video(Networks& networks, const Request&, const Inputs& inputs, const Run& run) {
  Encoded encoded;
  encoded.clean = encode_in_range(networks, [&](const vae::Vae& vae, int64_t tile_rows) {
    return video_latent(vae, inputs.video, run, tile_rows);
  });
  return encoded;
}

}  // namespace wan
