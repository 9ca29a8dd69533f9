// libtiff on a file in memory. Included by this folder's .cpp files only.
#pragma once

#include <tiffio.h>

#include <memory>

#include "engine/media/bytes.h"

namespace wan {

struct TiffMemory {
  Bytes bytes;
  toff_t at = 0;
};

struct CloseTiff {
  void operator()(TIFF* file) const { TIFFClose(file); }
};
using TiffHandle = std::unique_ptr<TIFF, CloseTiff>;

/// Null where it is no TIFF file. `memory` must outlive it. Silences libtiff's own lines on stderr.
TiffHandle open_tiff(TiffMemory& memory);

}  // namespace wan
