// The chunks of a WebP file.
#pragma once

#include <string>

#include "engine/media/bytes.h"

namespace wan {

struct WebpFile {
  std::string picture = {};  // the still, or the first frame, as the simplest file that holds its colours
  Bytes exif = {}, profile = {};
  bool transparent = false;  // a separate plane of alpha was left out
  bool animated = false;
  int64_t canvas_height = 0, canvas_width = 0, top = 0, left = 0;  // of an animation
  std::string wrong = {};                                          // why it cannot be read; empty: it can
};

/// libavcodec reads still WebP only. The first frame of an animated one is a still picture but for its wrapping.
WebpFile read_webp(Bytes file);

bool is_webp(Bytes file);
/// Whether an animation is stated in the first 21 bytes.
bool is_animated_webp(Bytes file);

}  // namespace wan
