// The pose video of a speech job, clip by clip.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/media/video_reader.h"

namespace wan {

/// The frames of a pose video that a chain asks for in order. Source: load_pose_cond, speech2video.py.
class PoseVideo {
 public:
  /// Opens a pose video for an output of `fps` frames a second and decodes its first frame; throws InvalidRequest naming
  /// the file's field.
  PoseVideo(const MediaFile& file, int64_t fps, int64_t height, int64_t width);

  /// The next `count` frames, fewer where the video ends: [3, n, H, W] in [-1, 1].
  at::Tensor next(int64_t count);
  /// Passes over what next(count) would give.
  void skip(int64_t count);

 private:
  /// The next frame at the video's rate; none after the last.
  std::optional<VideoFrame> next_shown();

  VideoReader reader_;
  int64_t height_, width_, every_ = 1, read_ = 0;
};

}  // namespace wan
