// The blocks of a GIF file.
#pragma once

#include "engine/media/bytes.h"

namespace wan {

struct GifFile {
  bool whole = false;  // the first picture is there to its end: a decoder fills up what is missing
  bool animated = false;
};

GifFile read_gif(Bytes file);

}  // namespace wan
