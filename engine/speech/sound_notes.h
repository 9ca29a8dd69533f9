// What a user is to know of the sound that moves the lips.
#pragma once

#include "engine/base/note.h"
#include "engine/speech/features.h"

namespace wan {

/// Other tracks, damage, holes, silence, channels that cancel each other or are empty, distortion: only what is certain.
void note_sound(const Waveform& sound, Notes& notes);

/// The same for a video as long as the reference code makes it from the whole sound.
void note_reference_length(const Waveform& sound, double shown, Notes& notes);
/// Where a length that was asked for ends before the sound or after it: of a video of `shown` seconds, in which `heard`
/// seconds of the sound are heard.
void note_length(const Waveform& sound, double shown, double heard, Notes& notes);

}  // namespace wan
