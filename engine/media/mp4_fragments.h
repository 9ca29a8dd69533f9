// The frames that the fragments of an MP4 or MOV list. Included by this folder's .cpp files only.
#pragma once

#include <cstdint>
#include <string>

#include "engine/media/frame_gaps.h"

namespace wan {

/// Adds the frames of track `track` in the order of decoding, each with the duration that its fragment states, so that
/// a fragment that is lost leaves a gap that none states. Nothing where the file has no fragments, where they do not
/// state when they begin, or where they cannot be followed.
void add_fragments(const std::string& path, uint32_t track, FrameGaps& gaps);

}  // namespace wan
