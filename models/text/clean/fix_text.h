// Puts glitches of a text in order: ftfy.fix_text (6.3.1) with its default settings.
#pragma once

#include <string>
#include <string_view>

namespace wan::text {

/// Line by line, each until nothing changes any more. Entities are read until a line holds `<`, and not from there on.
std::u32string fix_text(std::u32string_view text);

}  // namespace wan::text
