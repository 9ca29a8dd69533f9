// Repairs text that was UTF-8 and was read in a single-byte encoding. Follows ftfy 6.3.1, fix_encoding.
#pragma once

#include <string>
#include <string_view>

namespace wan::text {

/// Undoes misreadings for as long as the text looks misread; text that does not is returned as it is.
std::u32string fix_encoding(std::u32string text);

/// The C1 controls U+0080..U+009F as what these bytes are in Windows-1252.
std::u32string fix_c1_controls(std::u32string text);

}  // namespace wan::text
