// Videos made by the ffmpeg program, and what is told of them.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "engine/media/video_reader.h"
#include "tests/engine/media_support.h"

namespace wan {

struct ReadVideo {
  std::vector<VideoFrame> frames;
  std::vector<Note> notes;

  /// The colour in the middle of the first frame.
  std::vector<int64_t> colour() const;
  bool tells(const std::string& words) const;
};

/// A whole video, and what the reader tells of it.
ReadVideo read_whole(const std::string& path, const VideoReading& how = {});
/// Why a video is refused; empty where it is read.
std::string refusal_of(const std::string& path, const VideoReading& how = {});

}  // namespace wan
