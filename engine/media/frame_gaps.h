// Frames that are missing in the middle of a video: gaps between times that are regular otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wan {

/// Demuxers report nothing where a transport stream lost packets, or where a WMV lost the head of a packet. What shows
/// it is a gap of two or more frames that the file does not state as the duration of the frame before it.
class FrameGaps {
 public:
  /// The next frame: its time, never before the last one's, and its duration by the word of the file, 0 where it has
  /// none; both in one unit.
  void add(int64_t time, int64_t duration);
  /// How many are missing and where, as a sentence for the user, `unit` being seconds. Empty where none is, and where
  /// the times are irregular of themselves.
  std::string text(double unit) const;

 private:
  struct Gap {
    int64_t at, length;  // from the frame before it to the one behind it
    bool stated;         // the frame before it is to be shown as long
  };
  double step() const;  // between two frames; 0 where the times have none

  std::vector<Gap> gaps_;  // of the first frames, kMost of them
  int64_t last_ = 0, last_duration_ = 0;
  bool started_ = false;
};

}  // namespace wan
