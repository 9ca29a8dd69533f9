// The segments of a JPEG file.
#pragma once

#include <string>

#include "engine/media/bytes.h"

namespace wan {

struct JpegFile {
  Bytes picture = {};        // from its first byte to the end of the first image; empty where that end is not there
  Bytes exif = {};           // the first Exif segment behind its mark
  std::string profile = {};  // ICC; its later pieces, of a profile above 64 kB, left out
  int frame = 0;             // the marker of its frame header: C0 baseline, C2 progressive, ...
  int bits = 0, components = 0;
};

/// Walks the segments up to the end of the first image. What stands behind it (a video, further pictures, anything)
/// and fill bytes before markers do not matter.
JpegFile read_jpeg(Bytes file);

}  // namespace wan
