// What a JPEG 2000 file says before its pixels.
#pragma once

#include <string>

#include "engine/media/bytes.h"

namespace wan {

/// A JP2 file or a bare codestream.
bool is_jpeg2000(Bytes file);

struct Jpeg2000 {
  Bytes profile = {};      // ICC
  std::string wrong = {};  // why it cannot be read; empty: it can
};

/// What a decoder would make half a picture or wrong colours of is told in `wrong`: a cut codestream, palettes, colour
/// spaces other than grey, sRGB and sYCC, channels that are neither colours nor alpha.
Jpeg2000 read_jpeg2000(Bytes file);

}  // namespace wan
