// Holes in a sound by the time stamps of its frames. Included by this folder's .cpp files only.
#pragma once

#include <cstdint>

#include "engine/media/av.h"

namespace wan::av {

/// Compares what was given of a sound with where its frames stand in time. Only containers that store a time for their
/// packets are judged: in the others (WAV, MP3, AVI) it is counted from what comes, and says nothing.
class SoundClock {
 public:
  /// `rate`: samples a second of what is given.
  SoundClock(const AVFormatContext& format, AVRational base, int64_t rate);

  /// How many samples are missing before a frame with this stamp; below zero how many of its own were there already. 0
  /// within 40 ms, which no one hears and some writers' stamps waver by, and where the stamp is absent. A leap of over
  /// an hour, or back by over a second, is another clock: the sound goes on, and is measured from there.
  int64_t gap(int64_t stamp);
  /// So many samples went out.
  void advance(int64_t samples) { given_ += samples; }

 private:
  AVRational base_;
  int64_t rate_;
  bool stamped_, overlaps_ = false;
  int64_t given_ = 0, anchor_given_ = 0, anchor_;
};

}  // namespace wan::av
