// The four normal forms of Unicode, through ICU.
#pragma once

#include <string>
#include <string_view>

namespace wan::text {

enum class NormalForm { Nfc, Nfd, Nfkc, Nfkd };

/// The version of Unicode that a library of the reference knows. Younger characters stay as they are, so that ids do
/// not depend on the ICU of the machine.
enum class UnicodeVersion {
  Tokenizers = 9,  // the crate unicode-normalization-alignments under tokenizers 0.21
  Python = 14,     // the module unicodedata of Python 3.11
};

/// Throws std::runtime_error where ICU has no data.
std::u32string normal_form(std::u32string_view text, NormalForm form, UnicodeVersion version);

}  // namespace wan::text
