#include "models/files/error.h"

#include <cstdio>

namespace wan {

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  std::string out;
  for (unsigned char byte : text.substr(0, kLongest)) {
    if (byte >= 0x20 && byte < 0x7F) {
      out += static_cast<char>(byte);
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02X", byte);
      out += escaped;
    }
  }
  return text.size() > kLongest ? out + "..." : out;
}

}  // namespace wan
