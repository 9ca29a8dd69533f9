// Frames and sound to an MP4 file: H.264 and AAC, encoded while the decoder still works.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/rational.h"
#include "engine/media/stream_times.h"

namespace wan {

/// `video_quality` as x264's constant rate factor. `maximum` is the official writer's (imageio quality 8).
/// Beside each: bytes and PSNR of 49 frames of 832x480, a panning texture with faint grain, `balanced`.
struct Quality {
  std::string_view name;
  int rate_factor;
};
constexpr Quality kQualities[] = {
    {"low", 28},      // 26 kB, 39.3 dB
    {"medium", 23},   // 43 kB, 40.7 dB
    {"high", 18},     // 123 kB, 41.6 dB
    {"maximum", 10},  // 2,885 kB, 42.9 dB: the grain itself is coded
};

/// `video_write_mode` as x264's preset. Beside each: the sample above at `high`, seconds on two cores.
struct WriteMode {
  std::string_view name;
  const char* preset;
};
constexpr WriteMode kWriteModes[] = {
    {"fast", "veryfast"},    // 0.3 s, 97 kB, 41.0 dB
    {"balanced", "medium"},  // 1.9 s, 123 kB, 41.6 dB
    {"small", "slow"},       // 3.4 s, 122 kB, 41.5 dB
};

/// The rate in which a sound of `rate` is to be brought: the least that AAC has at or above it, at most 48,000.
int64_t sound_rate(int64_t rate);

struct AudioFormat {
  int64_t rate = 0, channels = 0;
};

constexpr size_t kMostMetadata = 1 << 20;  // bytes

struct VideoFormat {
  int64_t height = 0, width = 0;  // pixels, multiples of 2
  Rational rate{16, 1};           // frames a second
  std::string quality = "high";   // a name of kQualities
  std::string write_mode = "balanced";
  std::string metadata = {};              // JSON text, UTF-8, kept in the file for read_metadata(); empty: none
  std::optional<AudioFormat> audio = {};  // sound that write_audio() will bring
  std::string audio_from = {};            // or: a file whose sound is kept, from its first picture to the video's end
};

/// The file appears under its name at finish(); until then it is `path`.part, which is removed when the writer goes
/// without finish(). Equal input gives equal bytes on any number of cores: the thread count is fixed, and nothing that
/// names versions, times or hosts is written. Memory does not grow with the video's length.
///
/// Colour: BT.709, limited range, 4:2:0, stated in the stream. The index comes first (faststart).
/// Throws std::runtime_error "[path] cannot be written: <errno text>" from any call, std::invalid_argument on misuse.
class VideoWriter {
 public:
  VideoWriter(const std::string& path, const VideoFormat& format);
  ~VideoWriter();
  VideoWriter(VideoWriter&&) noexcept;

  /// uint8 [t, H, W, 3] RGB, CPU. x264's own threads work on while this returns.
  void write(const at::Tensor& frames);
  /// float32 [channels, n] in [-1, 1], from time zero on, in pieces of any length. Pieces and frames of about the same
  /// time should come about together: what is far ahead of the other waits in memory.
  void write_audio(const at::Tensor& samples);
  /// Other metadata than the format's, of at most kMostMetadata: any time before finish(), where the index is written.
  void tell(const std::string& metadata);
  /// After the last frame and the last sound: encodes what is left, so that the times of the streams are known. After
  /// it only tell() and finish() may come.
  StreamTimes flush();
  /// Completes the file and puts it in its place, or under the name `instead` beside it.
  void finish(const std::string& instead = "");

 private:
  friend void check_header(const std::string& path, const VideoFormat& format);
  struct State;
  std::unique_ptr<State> state_;
};

/// Opens the encoders and writes the header of such a video at `path` into nothing: throws what VideoWriter's constructor
/// would, but for the disk's errors.
void check_header(const std::string& path, const VideoFormat& format);

}  // namespace wan
