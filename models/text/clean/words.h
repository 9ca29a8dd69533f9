// The words of a text as two people who read it would call them equal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wan::text {

/// Runs of letters, digits and what combines with them, in compatible forms (NFKC) and folded case, without what has no
/// width: "Naïve-Bot" is "naïve" and "bot", "ＡＢＣ" is "abc", "Straße" is "strasse". In writing without spaces (Han, kana, Thai
/// and its neighbours) each character is a word. Throws std::runtime_error where ICU has no data.
std::vector<std::u32string> words_of(std::u32string_view text);

}  // namespace wan::text
