// What a colour profile says of itself.
#pragma once

#include <string>

#include "engine/media/bytes.h"

namespace wan {

/// The name of an ICC profile for RGB whose colours are not sRGB's ("Display P3"). Empty where they are, where it is a
/// profile for something else than RGB, and where it cannot be read.
std::string foreign_profile(Bytes icc);

}  // namespace wan
