#include "models/error.h"

#include <cstdio>

namespace wan {

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool continues_a_character = (byte & 0xC0) == 0x80;
    if (i >= kLongest && !continues_a_character) return out + "...";
    if (i >= kLongest + 4) return out + "...";  // not UTF-8
    if (byte >= 0x20 && byte != 0x7F) {
      out += text[i];
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02X", byte);
      out += escaped;
    }
  }
  return out;
}

}  // namespace wan
