#include "engine/media/ogg_file.h"

#include <algorithm>
#include <fstream>

#include "engine/media/bytes.h"

namespace wan {
namespace {

constexpr size_t kHead = 27;                              // before the table of lengths
constexpr size_t kLongestPage = kHead + 255 + 255 * 255;  // bytes
constexpr Bytes kMark("OggS\0", 5);                       // and the version

std::string end_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const auto size = std::streamoff(in.tellg());
  std::string bytes(size_t(std::clamp<std::streamoff>(size, 0, 2 * kLongestPage)), '\0');
  in.seekg(size - std::streamoff(bytes.size()));
  in.read(bytes.data(), std::streamsize(bytes.size()));
  return bytes;
}

/// Bytes of the page at `at`; of one whose table is cut, more than are there.
size_t page_length(Bytes bytes, size_t at) {
  const size_t segments = number(bytes, at + kHead - 1, 1, true);
  size_t length = kHead + segments;
  if (at + length > bytes.size()) return kLongestPage;
  for (size_t i = 0; i < segments; ++i) length += number(bytes, at + kHead + i, 1, true);
  return length;
}

}  // namespace

OggEnd ogg_end(const std::string& path) {
  const std::string tail = end_of(path);
  const Bytes bytes = tail;
  OggEnd end = OggEnd::Unmarked;
  for (size_t at = bytes.find(kMark); at != Bytes::npos;) {
    const size_t next = at + page_length(bytes, at);
    if (next > bytes.size()) return OggEnd::Cut;
    end = number(bytes, at + 5, 1, true) & 4 ? OggEnd::Marked : OggEnd::Unmarked;
    at = bytes.find(kMark, next);
  }
  return end;
}

}  // namespace wan
