#include "engine/media/gif_file.h"

namespace wan {
namespace {

// Of a palette, whose presence and size stand in these flags.
size_t palette_bytes(uint64_t flags) {
  return flags & 0x80 ? size_t(3) << ((flags & 7) + 1) : 0;
}

// Behind the blocks at `at`, each with a length of one byte before it, the last one empty; npos where the file is cut.
size_t behind_blocks(Bytes file, size_t at) {
  while (at < file.size() && file[at] != 0) at += 1 + number(file, at, 1, true);
  return at < file.size() ? at + 1 : Bytes::npos;
}

}  // namespace

GifFile read_gif(Bytes file) {
  constexpr uint64_t kExtension = 0x21, kPicture = 0x2C;
  GifFile gif;
  for (size_t at = 13 + palette_bytes(number(file, 10, 1, true)); at < file.size();) {
    const uint64_t kind = number(file, at, 1, true);
    if (kind == kPicture && gif.whole) gif.animated = true;
    if ((kind != kExtension && kind != kPicture) || gif.animated) break;
    // A picture: place, size and flags (9 bytes), a palette, the bits of a code; then the pixels.
    const size_t head = kind == kExtension ? 2 : 11 + palette_bytes(number(file, at + 9, 1, true));
    at = behind_blocks(file, at + head);
    gif.whole |= kind == kPicture && at != Bytes::npos;
  }
  return gif;
}

}  // namespace wan
