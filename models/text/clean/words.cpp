#include "models/text/clean/words.h"

#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>

#include <utility>

#include "models/text/clean/normal_form.h"

namespace wan::text {

namespace {

std::u32string folded(std::u32string_view text) {
  icu::UnicodeString given;
  for (char32_t c : text)
    if (!u_hasBinaryProperty(UChar32(c), UCHAR_DEFAULT_IGNORABLE_CODE_POINT)) given.append(UChar32(c));
  given.foldCase();
  std::u32string result;
  for (int32_t at = 0; at < given.length(); at = given.moveIndex32(at, 1)) result += char32_t(given.char32At(at));
  return result;
}

bool is_mark(UChar32 c) {
  return (U_GET_GC_MASK(c) & U_GC_M_MASK) != 0;
}

/// Of a script that is written without spaces between words.
bool stands_alone(UChar32 c) {
  UErrorCode status = U_ZERO_ERROR;
  switch (uscript_getScript(c, &status)) {
    case USCRIPT_HAN:
    case USCRIPT_HIRAGANA:
    case USCRIPT_KATAKANA:
    case USCRIPT_THAI:
    case USCRIPT_LAO:
    case USCRIPT_KHMER:
    case USCRIPT_MYANMAR:
      return U_SUCCESS(status) && !is_mark(c);
    default:
      return false;
  }
}

}  // namespace

std::vector<std::u32string> words_of(std::u32string_view text) {
  // Folding can undo a normal form.
  const auto normal = [](std::u32string_view some) {
    return normal_form(some, NormalForm::Nfkc, UnicodeVersion::Python);
  };
  const std::u32string plain = normal(folded(normal(text)));
  std::vector<std::u32string> words;
  std::u32string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (char32_t letter : plain) {
    const auto c = UChar32(letter);
    if (is_mark(c) && !word.empty()) {
      word += letter;
      continue;
    }
    if (!u_isalnum(c)) {
      end_word();
      continue;
    }
    const bool alone = stands_alone(c);
    if (alone || (!word.empty() && stands_alone(UChar32(word.front())))) end_word();
    word += letter;
  }
  end_word();
  return words;
}

}  // namespace wan::text
