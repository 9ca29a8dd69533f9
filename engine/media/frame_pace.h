// How fast a video's frames follow each other by their own times, whatever rate its container states.
#pragma once

#include <optional>

#include "engine/base/rational.h"
#include "engine/media/media_file.h"

namespace wan {

/// Frames a second, from the mean of the steps between neighbouring frames that differ by at most a quarter from the
/// median: a common rate where it is one as exactly as the clock tells, else to a thousandth. Nothing where fewer than four
/// of five do, where there are fewer than four steps, and in containers other than MP4, Matroska, WebM and FLV, whose
/// packets may be half a frame. Reads the packets of the first 100,000 frames, and decodes none. Throws InvalidRequest as
/// VideoReader.
std::optional<Rational> frame_pace(const MediaFile& file);

}  // namespace wan
