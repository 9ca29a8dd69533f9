// The four normal forms of Unicode, through ICU.
#pragma once

#include <string>
#include <string_view>

namespace wan::text {

enum class NormalForm { Nfc, Nfd, Nfkc, Nfkd };

/// Throws std::runtime_error where ICU has no data.
std::u32string normal_form(std::u32string_view text, NormalForm form);

}  // namespace wan::text
