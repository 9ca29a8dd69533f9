// Words of HTTP heads: compared, checked, trimmed.
#pragma once

#include <string>
#include <string_view>

namespace wan::serve {

/// Equal but for the case of ASCII letters.
bool same_word(std::string_view a, std::string_view b);
/// Letters, digits and the signs that names of methods and headers may have; not empty.
bool is_token(std::string_view text);
/// Whether the text has no other letters than these; so has an empty one.
bool all_are(std::string_view text, std::string_view letters);
/// Without blanks and tabs at its ends.
std::string_view trimmed(std::string_view text);
/// ASCII letters in lower case.
std::string lower_case(std::string_view text);

}  // namespace wan::serve
