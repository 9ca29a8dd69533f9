#include "models/files/utf8.h"

#include <cstdint>
#include <stdexcept>

namespace wan {
namespace {

constexpr bool is_continuation(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}

}  // namespace

bool next_code_point(std::string_view text, size_t& at, char32_t& code_point) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) {
    code_point = lead;
    ++at;
    return true;
  }
  const size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || length > text.size() - at) return false;
  char32_t value = lead & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[at + i]);
    if (!is_continuation(byte)) return false;
    value = value << 6 | (byte & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return false;
  code_point = value;
  at += length;
  return true;
}

bool is_utf8(std::string_view text) {
  char32_t code_point;
  for (size_t at = 0; at < text.size();)
    if (!next_code_point(text, at, code_point)) return false;
  return true;
}

void check_utf8(std::string_view text) {
  char32_t code_point;
  for (size_t at = 0; at < text.size();) {
    if (next_code_point(text, at, code_point)) continue;
    constexpr char kDigits[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(text[at]);
    throw std::invalid_argument(std::string("must be valid UTF-8, byte 0x") + kDigits[byte >> 4] + kDigits[byte & 15] +
                                " at offset " + std::to_string(at));
  }
}

std::u32string from_utf8(std::string_view text) {
  check_utf8(text);
  std::u32string result;
  result.reserve(text.size());
  char32_t code_point;
  for (size_t at = 0; at < text.size() && next_code_point(text, at, code_point);) result += code_point;
  return result;
}

std::string to_utf8(std::u32string_view text) {
  std::string result;
  result.reserve(text.size());
  for (char32_t c : text) {
    if (c < 0x80) {
      result += static_cast<char>(c);
    } else if (c < 0x800) {
      result += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    } else if (c < 0x10000) {
      result += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                 static_cast<char>(0x80 | (c & 0x3F))};
    } else {
      result += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
                 static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
    }
  }
  return result;
}

}  // namespace wan
