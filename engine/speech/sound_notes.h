// What a user is to know of the sound that moves the lips.
#pragma once

#include "engine/base/note.h"
#include "engine/speech/features.h"

namespace wan {

/// Damage, holes, silence, channels that cancel each other or are empty, distortion: only what is certain.
void note_sound(const Waveform& sound, Notes& notes);

}  // namespace wan
