// What a file of pictures or sound is, told from its first bytes.
#pragma once

#include <string>

#include "engine/media/bytes.h"

namespace wan {

/// "a picture", "a video" or "a sound file"; empty where the bytes begin as none of those that users have.
std::string media_kind(Bytes first);
/// The same of a file; empty where it cannot be read.
std::string media_kind_of(const std::string& path);

}  // namespace wan
