// The boxes of the ISO base media file format (ISO/IEC 14496-12): MP4, MOV, HEIF. Included by this folder's .cpp files
// only.
#pragma once

#include <vector>

#include "engine/media/bytes.h"

namespace wan {

/// More boxes stand beside each other than any honest file has.
struct TooManyBoxes {};

struct Box {
  Bytes type, content;
};

/// The number of `width` bytes at `at`, in the order of these files.
inline uint64_t big(Bytes bytes, size_t at, size_t width) {
  return number(bytes, at, width, /*little_endian=*/false);
}

/// The boxes that stand behind each other in `bytes`; one that states more than is there has what is there. Throws
/// TooManyBoxes.
std::vector<Box> boxes_in(Bytes bytes);

/// The content of the first box of this type, empty where there is none. Throws TooManyBoxes.
Bytes box_in(Bytes bytes, Bytes type);

}  // namespace wan
