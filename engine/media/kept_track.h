// The sound of another file in an MP4 file that is being written. Included by this folder's .cpp files only.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "engine/media/aac_track.h"
#include "engine/media/audio_reader.h"
#include "engine/media/input.h"
#include "engine/media/kept_sound.h"
#include "engine/media/muxer.h"

namespace wan::av {

/// When the first picture that can be shown is shown, in seconds on the clock of the file; where it has none, when the
/// sound begins.
double first_picture(const MediaFile& file);

/// Packets as they are, each at its own time.
class CopiedTrack {
 public:
  /// Seconds in the file that are time zero: `origin`.
  CopiedTrack(Muxer& muxer, const MediaFile& file, double origin);
  void advance(double seconds);

 private:
  Muxer& muxer_;
  double origin_;
  Input input_;
  AVStream* stream_;
  Packet packet_ = new_packet();
  bool waiting_ = false;  // packet_ holds one that is not yet due
  bool ended_ = false;
  int64_t last_ = INT64_MIN;
};

/// Decoded, in its place by its time stamps, and encoded as AAC.
class EncodedTrack {
 public:
  EncodedTrack(Muxer& muxer, const MediaFile& file, double origin);
  void advance(double seconds);
  void finish() { track_.finish(); }

 private:
  bool refill();
  AudioReader reader_;
  AacTrack track_;
  at::Tensor piece_;             // [channels, n], not yet due
  int64_t skip_ = 0, late_ = 0;  // samples before time zero; silence before the first sample
  int64_t written_ = 0;
  bool ended_ = false;
};

/// The sound of another file, in step with the video that is written. Time zero is that file's first picture.
class KeptTrack {
 public:
  KeptTrack(Muxer& muxer, const MediaFile& file);
  /// Writes the sound up to this time.
  void advance(double seconds);
  void finish();

 private:
  std::unique_ptr<CopiedTrack> copied_;
  std::unique_ptr<EncodedTrack> encoded_;  // both null: there is nothing to keep
};

}  // namespace wan::av
