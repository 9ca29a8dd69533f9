// When the picture and the sound of a video begin and end, by the times of their streams.
#pragma once

#include <optional>

#include "engine/media/media_file.h"

namespace wan {

/// Seconds.
struct StreamSpan {
  double start = 0, end = 0;
};

struct StreamTimes {
  StreamSpan picture;
  std::optional<StreamSpan> sound;  // nothing without sound
};

/// How much later the sound of a file begins than its first picture, in seconds; 0 where it begins before it, since
/// what lies before the picture is left out of what is made from the file. Nothing where it has no sound, or none with
/// a time. Reads the beginning of the file. Throws InvalidRequest where it is no video.
std::optional<double> sound_delay(const MediaFile& file);

}  // namespace wan
