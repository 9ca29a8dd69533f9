// A picture as its file gives it, and what a user is told of the way to 8 bits of sRGB.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "engine/base/note.h"

namespace wan {

struct Picture {
  at::Tensor rgb = {};       // uint8 [H, W, 3], as it is stored
  int orientation = 1;       // how it is to be turned, as Exif counts
  int bits = 8;              // of a channel in the file
  bool transparent = false;  // it has an alpha below its greatest value
  bool white_under = false;  // where it is transparent it has no colours of its own and is white
  bool cmyk = false;
  bool more = false;          // its file holds further pictures: frames, pages
  std::string profile = {};   // ICC
  bool profile_lost = false;  // it has a profile that is damaged
  int primaries = 0;          // its colours as H.273 counts; 0: not stated
  int transfer = 0;           // the curve of its values as H.273 counts; 0: not stated
  double gamma = 0;           // the exponent of its values, 0.45455 for sRGB; 0: not stated
};

/// A note for each thing that is dropped, cut or converted: transparency, bits, colour spaces other than sRGB, further
/// pictures. `field` is the request's.
void tell(const Picture& picture, const std::string& field, Notes& notes);

}  // namespace wan
