// The pose video of a speech job, clip by clip.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "engine/media/video_reader.h"
#include "engine/request/request.h"

namespace wan {

/// The frames of a pose video that a chain asks for in order: those shown at the output's frame times. Under the preset
/// "reference" every k-th frame, whatever its time, k being the ratio of both rates (source: load_pose_cond,
/// speech2video.py).
class PoseVideo {
 public:
  /// Opens a pose video for the request's rate and decodes its first frame; throws InvalidRequest naming the file's
  /// field.
  PoseVideo(const MediaFile& file, const Request& request, int64_t height, int64_t width);

  /// Of the file.
  const VideoInfo& info() const { return reader_.info(); }
  /// The next `count` frames, fewer where the video ends: [3, n, H, W] in [-1, 1].
  at::Tensor next(int64_t count);
  /// Passes over what next(count) would give.
  void skip(int64_t count);
  /// Adds what was found so far, and which frames are taken where the rates differ.
  void tell(Notes& notes) const;
  /// Adds that it ends before the video, which lasts `seconds`, and what follows from that. By the length that the file
  /// states: a file that states none is not judged.
  void note_end(double seconds, Notes& notes) const;

 private:
  /// The next frame to be taken; none after the last.
  std::optional<VideoFrame> next_shown();

  VideoReader reader_;
  std::string field_;
  int64_t fps_, height_, width_, every_ = 1, read_ = 0;
  bool by_time_;
};

}  // namespace wan
