// Video files to frames, one at a time: a file of any length costs the memory of a few frames.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/media/media_file.h"
#include "engine/media/rational.h"

namespace wan {

constexpr int64_t kMostVideoPixels = 40'000'000;  // of a frame: 8K
constexpr int64_t kMostVideoSeconds = 4 * 3600;

/// What a video file says about itself. Sizes as shown: turned upright, with square pixels.
struct VideoInfo {
  int64_t width = 0, height = 0;
  Rational rate;       // average frames a second; 0/1 where unknown
  int64_t frames = 0;  // as stated or estimated from the duration; the truth is known after reading. 0: unknown
  double seconds = 0;  // 0: unknown
  bool has_audio = false;
};

struct VideoFrame {
  at::Tensor rgb;  // uint8 [H, W, 3], contiguous
  Rational time;   // seconds since the first frame
};

/// Reads any video in the usual containers and codecs. Rotation metadata and pixel aspect are applied, odd sizes and
/// variable frame rates kept as they are. All errors are InvalidRequest naming the file's field: no video, larger than the
/// limits above or than 16 GB, an unknown codec, no frame that can be decoded. A file that is cut off yields the frames
/// before the cut.
class VideoReader {
 public:
  /// With `rate`, next() yields the frame shown at 0, 1/rate, 2/rate ... until the last frame's time is over.
  explicit VideoReader(const MediaFile& file, std::optional<Rational> rate = std::nullopt);
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;

  const VideoInfo& info() const;
  /// The next frame, none after the last. Times never decrease.
  std::optional<VideoFrame> next();
  /// How many packets could not be decoded so far; above 0 the file is damaged and frames are missing.
  int64_t damaged_packets() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wan
