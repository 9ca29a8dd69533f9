// The header Range.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace wan::serve {

/// Bytes [begin, end) of a file.
struct ByteRange {
  uint64_t begin = 0, end = 0;
  bool outside = false;  // nothing of it is in the file: 416
};

/// What "bytes=0-99", "bytes=100-" and "bytes=-50" ask of a file of `size` bytes. Nothing where the whole file is to be
/// sent: for other units, several ranges and what is not well formed, which RFC 9110 allows to ignore.
std::optional<ByteRange> parse_range(std::string_view header, uint64_t size);

}  // namespace wan::serve
