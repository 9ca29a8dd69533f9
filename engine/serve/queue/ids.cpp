#include "engine/serve/queue/ids.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <system_error>

namespace wan::serve {
namespace {

void fill_random(unsigned char* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t got = getrandom(bytes + done, count - done, 0);
    if (got > 0) {
      done += size_t(got);
    } else if (errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "[random] getrandom gave nothing");
    }
  }
}

bool is_dash_place(size_t at) {
  return at == 8 || at == 13 || at == 18 || at == 23;
}

}  // namespace

std::string new_uuid() {
  std::array<unsigned char, 16> bytes;
  fill_random(bytes.data(), bytes.size());
  bytes[6] = (bytes[6] & 0x0F) | 0x40;  // version 4
  bytes[8] = (bytes[8] & 0x3F) | 0x80;  // the variant of RFC 4122
  std::string text = hex_text(bytes.data(), bytes.size());
  for (const size_t at : {8, 13, 18, 23}) text.insert(at, 1, '-');
  return text;
}

std::string hex_text(const unsigned char* bytes, size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * count);
  for (size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string random_hex(size_t bytes) {
  std::string raw(bytes, '\0');
  unsigned char* data = reinterpret_cast<unsigned char*>(raw.data());
  fill_random(data, bytes);
  return hex_text(data, bytes);
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t at = 0; at < text.size(); ++at)
    if (is_dash_place(at) ? text[at] != '-' : !std::isxdigit(static_cast<unsigned char>(text[at]))) return false;
  return true;
}

}  // namespace wan::serve
