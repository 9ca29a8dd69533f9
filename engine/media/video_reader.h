// Video files to frames, one at a time: a file of any length costs the memory of a few frames.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/base/note.h"
#include "engine/base/rational.h"
#include "engine/media/media_file.h"

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
  Rational until;  // when the next frame follows, or the video ends
};

struct VideoReading {
  /// With it, next() yields the frame shown at 0, 1/rate, 2/rate ... until the last frame's time is over.
  std::optional<Rational> rate = {};
  bool deinterlace = true;  // interlaced frames are made whole, one for one
};

/// Reads any video in the usual containers and codecs. Rotation metadata and pixel aspect are applied, odd sizes and
/// variable frame rates kept as they are; colours become BT.709. All errors are InvalidRequest naming the file's field:
/// no video, larger than the limits above or than 16 GB, an unknown codec, no frame that can be decoded, colours that
/// cannot be converted. A file that is cut off yields the frames before the cut.
class VideoReader {
 public:
  explicit VideoReader(const MediaFile& file, const VideoReading& how = {});
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;

  const VideoInfo& info() const;
  /// The next frame, none after the last. Times never decrease.
  std::optional<VideoFrame> next();
  /// Adds what was found so far: other tracks, dropped transparency, assumed or converted colours, interlaced frames,
  /// damage, and an end before the stated one. The file's field is their subject.
  void tell(Notes& notes) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wan
