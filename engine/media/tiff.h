// TIFF pictures by libtiff. Included by this folder's .cpp files only.
#pragma once

#include "engine/media/bytes.h"
#include "engine/media/input.h"
#include "engine/media/picture.h"

namespace wan {

bool is_tiff(Bytes file);

/// The first page: strips or tiles, samples together or in planes, up to 16 bits; grey, palette, RGB, CMYK, YCbCr.
/// What would not come out right (floating-point or signed samples, camera raw, compressions that libtiff lacks) is
/// refused, naming the tag. Throws InvalidRequest.
Picture read_tiff(const av::Source& source, Bytes file, int64_t most_pixels);

}  // namespace wan
