#include "models/text/clean/patterns.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <bitset>
#include <unordered_map>

namespace wan::text {
namespace {

#include "models/text/clean/patterns.inc"

/// Length of the first alternative that matches at `at`; 0 where none does.
size_t match_any(std::span<const Sequence> sequences, std::u32string_view text, size_t at) {
  for (const Sequence& sequence : sequences) {
    if (sequence.length > text.size() - at || (sequence.at_start && at > 0)) continue;
    size_t i = 0;
    while (i < sequence.length && kClasses[sequence.classes[i]].holds(text[at + i])) ++i;
    if (i == sequence.length) return sequence.length;
  }
  return 0;
}

/// Which of the bad sequences can begin with a character. Most text has no such character, so this decides the speed.
class BadBeginnings {
 public:
  using Set = std::bitset<std::size(kBadSequences)>;

  BadBeginnings() {
    for (size_t i = 0; i < std::size(kBadSequences); ++i) {
      const CharacterClass& first = kClasses[kBadSequences[i].classes[0]];
      for (auto [character, last] : first.ranges)
        for (; character <= last; ++character) by_character_[character].set(i);
    }
  }
  Set of(char32_t character) const {
    auto found = by_character_.find(character);
    return found == by_character_.end() ? Set() : found->second;
  }

 private:
  std::unordered_map<char32_t, Set> by_character_;
};

}  // namespace

bool CharacterClass::holds(char32_t character) const {
  // Python's \w: letters, anything with a numeric value, and the low line; combining marks are no part of it.
  if (kind == Word)
    return character == '_' || (U_MASK(u_charType(static_cast<UChar32>(character))) & U_GC_L_MASK) ||
           u_getIntPropertyValue(static_cast<UChar32>(character), UCHAR_NUMERIC_TYPE) != U_NT_NONE;
  auto after = std::upper_bound(ranges.begin(), ranges.end(), character,
                                [](char32_t c, const CharacterRange& range) { return c < range.first; });
  const bool in_ranges = after != ranges.begin() && character <= std::prev(after)->last;
  return in_ranges == (kind == AnyOf);
}

bool is_bad(std::u32string_view text) {
  static const BadBeginnings kBeginnings;
  for (size_t at = 0; at < text.size(); ++at) {
    const BadBeginnings::Set candidates = kBeginnings.of(text[at]);
    if (candidates.none()) continue;
    for (size_t i = 0; i < candidates.size(); ++i)
      if (candidates[i] && match_any({&kBadSequences[i], 1}, text, at)) return true;
  }
  return false;
}

size_t match_misread_utf8(std::u32string_view text, size_t at) {
  // Not behind a character that may belong to a longer garble: mending its tail alone would make it worse.
  if (at > 0 && match_any(kContinuation, text, at - 1)) return 0;
  size_t end = at;
  while (size_t length = match_any(kUtf8Sequences, text, end)) end += length;
  return end - at;
}

size_t match_spaced_utf8(std::u32string_view bytes, size_t at) {
  return match_any(kSpacedBytes, bytes, at);
}

size_t match_lossy_utf8(std::u32string_view bytes, size_t at) {
  return match_any(kLossyBytes, bytes, at);
}

}  // namespace wan::text
