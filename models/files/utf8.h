// UTF-8 to code points and back, strictly: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wan {

/// Reads the code point that starts at byte `at` (below text.size()) and advances `at` past it. False where the bytes
/// there are no UTF-8; `at` then stays.
bool next_code_point(std::string_view text, size_t& at, char32_t& code_point);

/// Whether all of the text is UTF-8.
bool is_utf8(std::string_view text);

/// Throws std::invalid_argument, `must be valid UTF-8, byte 0xff at offset 12`, where text is not UTF-8.
void check_utf8(std::string_view text);

/// Throws as check_utf8 does.
std::u32string from_utf8(std::string_view text);

/// The code points must be valid ones: no surrogates, at most U+10FFFF.
std::string to_utf8(std::u32string_view text);

}  // namespace wan
