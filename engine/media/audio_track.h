// The sound of an MP4 file that is being written. Included by this folder's .cpp files only.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "engine/media/audio_reader.h"
#include "engine/media/input.h"
#include "engine/media/muxer.h"

namespace wan::av {

/// PCM encoded as AAC, 96 kb/s a channel: the official muxing's 192 kb/s for stereo. Starts at time zero: the encoder's
/// 1,024 samples of run-in are hidden by an edit list.
class AacTrack {
 public:
  /// Throws std::invalid_argument where `rate` is not in AAC's table or `channels` not 1 or 2.
  AacTrack(Muxer& muxer, int64_t rate, int64_t channels);
  /// float32 [channels, n].
  void write(const at::Tensor& samples);
  void finish();

 private:
  void encode(const at::Tensor& samples);  // one frame's worth, or fewer at the end
  void drain();
  Muxer& muxer_;
  Codec codec_;
  AVStream* stream_ = nullptr;
  at::Tensor waiting_;   // [channels, fewer than a frame]
  int64_t encoded_ = 0;  // samples
};

/// The sound of another file, in step with the video that is written: copied packet by packet where MP4 can hold its
/// codec, decoded and encoded as AAC where not. Time zero is that file's first picture.
class KeptTrack {
 public:
  KeptTrack(Muxer& muxer, const MediaFile& file);
  bool copies() const { return input_ != nullptr; }
  /// Writes the sound up to this time.
  void advance(double seconds);
  void finish();

 private:
  void copy_until(double seconds);
  void encode_until(double seconds);
  Muxer& muxer_;
  double origin_ = 0;  // seconds in the file of its first picture
  std::unique_ptr<Input> input_;
  AVStream* stream_ = nullptr;
  Packet packet_ = new_packet();
  bool waiting_ = false;  // packet_ holds one that is not yet due
  int64_t last_ = INT64_MIN;
  bool ended_ = false;
  std::unique_ptr<AudioReader> reader_;
  std::unique_ptr<AacTrack> encoded_;
  at::Tensor piece_;
  int64_t skip_ = 0, written_ = 0;  // samples
};

}  // namespace wan::av
