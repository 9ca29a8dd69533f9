#include "engine/speech/pose_video.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/text.h"
#include "engine/media/resize.h"

namespace wan {

namespace {

bool takes_by_time(const Request& request) {
  return request.preset != "reference";
}

VideoReading reading(const Request& request) {
  VideoReading how{.deinterlace = request.deinterlace};
  if (takes_by_time(request)) how.rate = Rational{request.frames_per_second, 1};
  return how;
}

}  // namespace

PoseVideo::PoseVideo(const MediaFile& file, const Request& request, int64_t height, int64_t width)
    : reader_(file, reading(request)),
      field_(file.field),
      fps_(request.frames_per_second),
      height_(height),
      width_(width),
      by_time_(takes_by_time(request)) {
  if (by_time_) return;
  const double rate = reader_.info().rate.value() / double(fps_);
  every_ = std::max<int64_t>(1, int64_t(std::nearbyint(rate)));  // round half to even, as Python does
}

void PoseVideo::tell(Notes& notes) const {
  reader_.tell(notes);
  const Rational rate = reader_.info().rate;
  if (rate == Rational{fps_, 1}) return;
  const std::string rates =
      "the pose video has " + decimals(rate.value()) + " frames a second, the output " + std::to_string(fps_) + ": ";
  if (by_time_) {
    notes.add({field_, rates + "the one shown at each output frame's time is taken",
               "--preset reference takes every k-th, as the reference code does"});
    return;
  }
  const double speed = double(every_) * double(fps_) / rate.value();
  notes.add({field_,
             rates + (every_ == 1 ? "every one" : "one of " + std::to_string(every_)) +
                 " is taken, as the reference code does; poses run " + decimals(speed) + " times as fast as the speech",
             "--preset hosted takes them by time"});
}

void PoseVideo::note_end(double seconds, Notes& notes) const {
  constexpr double kNoticed = 0.1;  // seconds
  const VideoInfo& info = reader_.info();
  const auto taken = double((info.frames + every_ - 1) / every_);
  const double lasts = by_time_ ? info.seconds : taken / double(fps_);
  if (lasts <= 0 || seconds - lasts <= kNoticed) return;
  notes.add({field_,
             "the pose video ends after " + decimals(lasts) + " s, the video after " + decimals(seconds) +
                 " s: black pictures stand for the poses of the last " + decimals(seconds - lasts) +
                 " s, as in the reference code",
             "a pose video that is as long as the sound goes on to its end"});
}

std::optional<VideoFrame> PoseVideo::next_shown() {
  for (;;) {
    std::optional<VideoFrame> frame = reader_.next();
    if (!frame || read_++ % every_ == 0) return frame;
  }
}

at::Tensor PoseVideo::next(int64_t count) {
  std::vector<at::Tensor> frames = {at::empty({3, 0, height_, width_})};
  while (int64_t(frames.size()) <= count) {
    const std::optional<VideoFrame> frame = next_shown();
    if (!frame) break;
    frames.push_back(resize_shorter_side_float(frame->rgb.unsqueeze(0), height_, width_));
  }
  return at::cat(frames, 1);
}

void PoseVideo::skip(int64_t count) {
  while (count-- > 0 && next_shown()) {
  }
}

}  // namespace wan
