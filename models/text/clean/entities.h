// HTML entities, read in two ways: as browsers do, and as ftfy does where a text may merely look like HTML.
#pragma once

#include <string>
#include <string_view>

namespace wan::text {

/// Python's html.unescape: numbers and names, a closing semicolon or not, the longest known beginning of a name.
std::u32string unescape_html(std::u32string_view text);

/// ftfy.fixes.unescape_html: only what ends in a semicolon, and lower-case names spelt in capitals too (`&EACUTE;`).
std::u32string unescape_closed_entities(std::u32string_view text);

}  // namespace wan::text
