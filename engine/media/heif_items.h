// The items of an AVIF or HEIC file: what they say of their size, and what they hold. Included by this folder's .cpp
// files only. Source: ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/media/coded_size.h"

namespace wan {

struct HeifItem {
  std::string type = {};     // "av01", "hvc1", "grid", "iovl", "Exif"
  PixelSize stated = {};     // its property ispe; 0x0: it has none
  std::string content = {};  // its bytes in the file
  Bytes codec = {};          // its property av1C or hvcC
  /// What decoding it allocates, by its content; 0x0 where nothing is known.
  PixelSize real() const;
};

/// By their numbers. None where reading them could take any memory or time: items that together are larger than the file,
/// because their pieces overlap, or more boxes or items than a real file has.
std::optional<std::map<uint64_t, HeifItem>> heif_items(Bytes file);

}  // namespace wan
