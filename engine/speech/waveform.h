// A sound file as the speech features want it: by position, forward, at constant memory.
#pragma once

#include "engine/media/media_file.h"
#include "engine/speech/features.h"

namespace wan {

/// The file's sound as mono at 16 kHz. Decodes the file once for its length, once more for every walk from the start,
/// and holds what one window needs. Errors are AudioReader's, which name the file's field.
Waveform open_waveform(const MediaFile& file);

}  // namespace wan
