// A picture as language servers take it.
#pragma once

#include <string>

#include "engine/media/media_file.h"

namespace wan {

/// A data URL of a JPEG, whose longer side is at most 768 pixels: enough to see what it shows. Throws InvalidRequest as
/// read_image does.
std::string seen_picture(const MediaFile& file);

}  // namespace wan
