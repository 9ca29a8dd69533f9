// Pictures by libavcodec. Included by this folder's .cpp files only.
#pragma once

#include "engine/media/bytes.h"
#include "engine/media/input.h"
#include "engine/media/picture.h"

namespace wan::av {

/// The (first) picture of a file. Throws InvalidRequest where it is damaged, truncated or above `most_pixels`.
Picture decode_picture(const Source& source, AVCodecID codec, Bytes file, int64_t most_pixels);

}  // namespace wan::av
