// What the container of a video or a sound states and its bytes do not hold. Included by this folder's .cpp files only.
#pragma once

#include <string>

#include "engine/media/input.h"

namespace wan::av {

/// To be asked when `video` has been read to its end, `frames` of which could be decoded: what is missing, as a sentence
/// for the user; empty where all is there, or nothing is stated.
std::string missing_end(Decoder& video, int64_t frames);

/// The same of a sound. Empty, too, where how much is missing follows from stated_seconds.
std::string missing_end(Decoder& sound);

/// How long the sound is by the word of its header, in seconds; 0 where it does not say.
double stated_seconds(Decoder& sound);

}  // namespace wan::av
