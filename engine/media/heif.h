// AVIF and HEIC pictures by libheif, where it is installed. Included by this folder's .cpp files only.
#pragma once

#include "engine/media/bytes.h"
#include "engine/media/input.h"
#include "engine/media/picture.h"

namespace wan {

bool is_heif(Bytes file);

/// The primary picture, already turned, mirrored and cropped as the file says; Exif's orientation, which repeats that,
/// is not looked at. Throws InvalidRequest where it cannot be read, and always where not built with libheif.
Picture read_heif(const av::Source& source, Bytes file, int64_t most_pixels);

}  // namespace wan
