// How large the frames of an AV1 or HEVC stream are by its own headers. Included by this folder's .cpp files only.
#pragma once

#include <cstdint>

#include "engine/media/bytes.h"

namespace wan {

struct PixelSize {
  uint64_t width = 0, height = 0;
};

/// Width and height each the greater one.
PixelSize larger(PixelSize a, PixelSize b);

/// Of all sequence headers among these OBUs (AV1 specification, 5.3 and 5.5); 0x0 where there is none.
PixelSize av1_size(Bytes obus);
/// Of all sequence parameter sets among these NAL units, each behind its length of `length_bytes` (H.265, 7.3.2.2); 0x0
/// where there is none.
PixelSize hevc_size(Bytes units, size_t length_bytes);
/// Of one NAL unit; 0x0 where it is no sequence parameter set.
PixelSize hevc_unit_size(Bytes unit);

}  // namespace wan
