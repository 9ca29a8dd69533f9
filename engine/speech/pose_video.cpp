#include "engine/speech/pose_video.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/media/resize.h"

namespace wan {

PoseVideo::PoseVideo(const MediaFile& file, int64_t fps, int64_t height, int64_t width)
    : reader_(file), height_(height), width_(width) {
  const double rate = reader_.info().rate.value() / double(fps);
  every_ = std::max<int64_t>(1, int64_t(std::nearbyint(rate)));  // round half to even, as Python does
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
