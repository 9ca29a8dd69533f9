// What is compared: the frames of a video, or a picture as a video of one frame.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/base/note.h"
#include "engine/media/video_reader.h"

namespace wan {

class FrameSource {
 public:
  /// Throws InvalidRequest naming the file's field, as VideoReader and read_image do.
  explicit FrameSource(const MediaFile& file);

  /// Sizes as shown. Of a picture the rate is 0/1, and it has one frame.
  const VideoInfo& info() const { return info_; }
  bool is_picture() const { return picture_.defined() || taken_; }
  /// The next frame, none after the last.
  std::optional<VideoFrame> next();
  /// Adds what was found so far.
  void tell(Notes& notes) const;

 private:
  std::optional<VideoReader> video_;
  at::Tensor picture_;  // before it is taken
  bool taken_ = false;
  VideoInfo info_;
  Notes notes_;
};

}  // namespace wan
