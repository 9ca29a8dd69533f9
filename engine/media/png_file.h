// The chunks of a PNG file.
#pragma once

#include <string>
#include <vector>

#include "engine/media/bytes.h"

namespace wan {

struct PngFile {
  std::string picture = {};      // only what the pixels need
  std::string profile = {};      // ICC; empty where damaged
  std::vector<Bytes> data = {};  // the compressed pixels, and how many bytes they are to become
  uint64_t data_bytes = 0;
  Bytes exif = {};
  bool transparent = false;  // a colour or palette entry is transparent
  bool animated = false;
  bool profile_lost = false;        // it has an ICC profile that is damaged
  int primaries = 0, transfer = 0;  // as H.273 counts, of a cICP chunk
  double gamma = 0;                 // of a gAMA chunk; 0: it has none
  std::string wrong = {};           // why it cannot be read; empty: it can
};

/// Separates what the pixels need from what does not matter to them: ancillary chunks, and bytes behind the last
/// chunk. Of damaged ancillary chunks none is used.
PngFile read_png(Bytes file);

}  // namespace wan
