#include "models/text/clean/normal_form.h"

#include <unicode/normalizer2.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <stdexcept>

namespace wan::text {
namespace {

const icu::Normalizer2* normalizer(NormalForm form, UErrorCode& status) {
  switch (form) {
    case NormalForm::Nfc:
      return icu::Normalizer2::getNFCInstance(status);
    case NormalForm::Nfd:
      return icu::Normalizer2::getNFDInstance(status);
    case NormalForm::Nfkc:
      return icu::Normalizer2::getNFKCInstance(status);
    case NormalForm::Nfkd:
      break;
  }
  return icu::Normalizer2::getNFKDInstance(status);
}

/// The characters that a version of Unicode has.
const icu::UnicodeSet& characters_of(UnicodeVersion version) {
  const auto set_of = [](const char* pattern) {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet set(icu::UnicodeString(pattern, -1, US_INV), status);
    if (U_FAILURE(status)) throw std::runtime_error(std::string("[text] ICU knows no ages: ") + u_errorName(status));
    set.freeze();
    return set;
  };
  static const icu::UnicodeSet kTokenizers = set_of("[:Age=9.0:]"), kPython = set_of("[:Age=14.0:]");
  return version == UnicodeVersion::Tokenizers ? kTokenizers : kPython;
}

}  // namespace

std::u32string normal_form(std::u32string_view text, NormalForm form, UnicodeVersion version) {
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; })) return std::u32string(text);
  icu::UnicodeString given;
  for (char32_t c : text) given.append(static_cast<UChar32>(c));
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* of_form = normalizer(form, status);
  icu::UnicodeString normal;
  if (U_SUCCESS(status)) icu::FilteredNormalizer2(*of_form, characters_of(version)).normalize(given, normal, status);
  if (U_FAILURE(status)) throw std::runtime_error(std::string("[text] ICU cannot normalise: ") + u_errorName(status));
  std::u32string result;
  result.reserve(normal.length());
  for (int32_t at = 0; at < normal.length(); at = normal.moveIndex32(at, 1))
    result += static_cast<char32_t>(normal.char32At(at));
  return result;
}

}  // namespace wan::text
