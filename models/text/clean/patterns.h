// ftfy's regular expressions (ftfy/badness.py, ftfy/chardata.py) as tables: ordered alternatives, each a short sequence
// of character classes. Code points and bytes alike are char32_t here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace wan::text {

struct CharacterRange {
  char32_t first, last;
};

struct CharacterClass {
  enum Kind : uint8_t { AnyOf, NoneOf, Word } kind;  // Word is Python's \w and has no ranges
  std::span<const CharacterRange> ranges;            // ascending

  bool holds(char32_t character) const;
};

struct Sequence {
  bool at_start;  // matches at the start of the text only
  uint8_t length;
  uint8_t classes[7];  // of the generated table of classes
};

/// Whether text has a run of characters that is rare in anything but mojibake: ftfy.badness.is_bad.
bool is_bad(std::u32string_view text);

/// Length of the match at `at`, 0 where there is none, of what looks like UTF-8 read in a single-byte encoding, one or
/// more characters together: chardata.UTF8_DETECTOR_RE.
size_t match_misread_utf8(std::u32string_view text, size_t at);

/// The same for UTF-8 bytes in which a space stands for 0xA0: chardata.ALTERED_UTF8_RE.
size_t match_spaced_utf8(std::u32string_view bytes, size_t at);

/// The same for UTF-8 bytes some of which were lost, 0x1A or `?` in their place: chardata.LOSSY_UTF8_RE.
size_t match_lossy_utf8(std::u32string_view bytes, size_t at);

}  // namespace wan::text
