#include "engine/serve/api/byte_range.h"

#include <strings.h>

#include <algorithm>
#include <charconv>

namespace wan::serve {
namespace {

/// Digits alone; a number above 64 bits is the largest there is.
std::optional<uint64_t> number_in(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  uint64_t number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  return result.ec == std::errc() ? number : UINT64_MAX;
}

}  // namespace

std::optional<ByteRange> parse_range(std::string_view header, uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (header.size() < kUnit.size() || strncasecmp(header.data(), kUnit.data(), kUnit.size()) != 0) return std::nullopt;
  std::string_view range = header.substr(kUnit.size());
  while (range.starts_with(' ')) range.remove_prefix(1);
  while (range.ends_with(' ')) range.remove_suffix(1);
  const size_t dash = range.find('-');
  if (dash == range.npos || range.find(',') != range.npos) return std::nullopt;
  const std::optional<uint64_t> first = number_in(range.substr(0, dash)), last = number_in(range.substr(dash + 1));
  const bool open = dash + 1 == range.size();
  if (dash == 0) {  // the last bytes
    if (!last) return std::nullopt;
    if (*last == 0 || size == 0) return ByteRange{.outside = true};
    return ByteRange{.begin = size - std::min(*last, size), .end = size};
  }
  if (!first || (!last && !open) || (last && *last < *first)) return std::nullopt;
  if (*first >= size) return ByteRange{.outside = true};
  return ByteRange{.begin = *first, .end = last ? std::min(*last, size - 1) + 1 : size};
}

}  // namespace wan::serve
