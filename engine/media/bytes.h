// Numbers and pieces of a file in memory; what lies beyond its end reads as 0 or empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wan {

using Bytes = std::string_view;

/// The number of `width` bytes at `at`.
inline uint64_t number(Bytes bytes, size_t at, size_t width, bool little_endian) {
  uint64_t value = 0;
  if (width > bytes.size() || at > bytes.size() - width) return 0;
  for (size_t i = 0; i < width; ++i) {
    value = value << 8 | uint8_t(bytes[little_endian ? at + width - 1 - i : at + i]);
  }
  return value;
}

inline bool starts_with(Bytes bytes, Bytes prefix) {
  return bytes.substr(0, prefix.size()) == prefix;
}

/// What begins at `at`, at most `size` bytes.
inline Bytes from(Bytes bytes, size_t at, size_t size = Bytes::npos) {
  return at < bytes.size() ? bytes.substr(at, size) : Bytes();
}

}  // namespace wan
