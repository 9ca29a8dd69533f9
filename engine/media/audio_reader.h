// Sound files, and the sound of video files, to tensors: piece by piece, so that an hour costs the memory of a second.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "engine/media/loudness.h"
#include "engine/media/media_file.h"
#include "engine/media/tracks.h"

namespace wan {

constexpr int64_t kMostAudioSeconds = 4 * 3600;

/// What is made of a file's channels.
enum class Mix {
  Mono,    // their mean, as librosa does
  Stereo,  // one or two stay as they are, more are mixed down to two
};

/// Reads WAV (8 to 64 bits, float), MP3, M4A/AAC, FLAC, OGG and whatever else libav* decodes, as float32 in about [-1,
/// 1].
///
/// With Mix::Mono and another rate the samples are those of librosa.load(path, sr=rate): channel mean in float32, then
/// soxr at 20 bits, cut or padded to ceil(n * rate / own rate). A libswresample built without soxr uses its own
/// resampler, and resampler() says so: its result differs (SNR 28 to 54 dB). Source: S2V's
/// wan/modules/s2v/audio_encoder.py.
///
/// Sound stays at the time that its file's stamps give it: holes are filled with silence, what overlaps is left out.
///
/// All errors are InvalidRequest naming the file's field: no sound, an unknown codec, nothing decodable, more than the
/// limit above; with Mix::Mono also a rate or channels that change midway, with Mix::Stereo they are converted to the
/// first ones. A file that is cut off yields what lies before the cut.
class AudioReader {
 public:
  /// `rate` 0 keeps the file's own.
  AudioReader(const MediaFile& file, Mix mix, int64_t rate = 0);
  ~AudioReader();
  AudioReader(AudioReader&&) noexcept;

  int64_t rate() const;      // samples a second of what next() gives
  int64_t channels() const;  // 1 or 2
  /// How many the file has.
  int64_t file_channels() const;
  /// "none" where the rate is kept, "soxr", or "swr (libswresample has no soxr)".
  const std::string& resampler() const;
  /// The next piece [channels, n] float32, n > 0; undefined after the last.
  at::Tensor next();
  /// How long the sound is by the file's own word, in seconds; 0 where it does not say.
  double stated_seconds() const;
  /// To be asked after the last piece: what the container says that is missing at the end, as a sentence for the user.
  /// Empty where all is there, or where it follows from stated_seconds().
  std::string missing_end() const;
  /// Which of the sounds in the file is read.
  Tracks tracks() const;
  /// How many packets could not be decoded so far.
  int64_t damaged_packets() const;
  /// When the first sample is heard, in seconds on the clock of the file. Codecs whose first packets give nothing begin
  /// later than their stream.
  double start() const;
  /// Seconds of silence so far in place of holes.
  double filled_seconds() const;
  /// Of what was read so far, before channels are mixed; with Mix::Mono only.
  const Loudness& loudness() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wan
