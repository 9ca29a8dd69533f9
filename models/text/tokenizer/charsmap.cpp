#include "models/text/tokenizer/charsmap.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <memory>

#include "models/files/error.h"
#include "models/files/utf8.h"

namespace wan::text {
namespace {

constexpr size_t kWholeClusterBelow = 6;  // bytes

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i > 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i - 1]);
  return value;
}

// A unit of the double array packs label, leaf flag and offset (darts-clone, DoubleArrayUnit).
uint32_t label(uint32_t unit) {
  return unit & (1u << 31 | 0xFF);
}
bool has_leaf(uint32_t unit) {
  return unit >> 8 & 1;
}
uint32_t offset(uint32_t unit) {
  return unit >> 10 << ((unit & 1u << 9) >> 6);
}
uint32_t value(uint32_t unit) {
  return unit & ~(1u << 31);
}

/// Walks the extended grapheme clusters of UTF-8 text.
template <typename Visit>
void for_each_cluster(std::string_view text, Visit visit) {
  UErrorCode status = U_ZERO_ERROR;
  std::unique_ptr<icu::BreakIterator> breaks(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
  std::unique_ptr<UText, decltype(&utext_close)> view(
      utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &status), &utext_close);
  if (U_SUCCESS(status)) breaks->setText(view.get(), status);
  if (U_FAILURE(status)) throw std::runtime_error(std::string("[text] ICU finds no clusters: ") + u_errorName(status));
  int32_t begin = breaks->first();
  for (int32_t end = breaks->next(); end != icu::BreakIterator::DONE; begin = end, end = breaks->next())
    visit(text.substr(begin, end - begin));
}

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return {};
  size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return {};
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8));
  }
  return bytes;
}

Charsmap::Charsmap(std::string_view bytes, std::string where) : where_(std::move(where)) {
  if (bytes.size() < 4) throw ModelError(where_, "must hold a trie, got " + std::to_string(bytes.size()) + " bytes");
  const uint32_t size = little_endian(bytes, 0);
  if (size == 0 || size % 4 != 0 || size > bytes.size() - 4)
    throw ModelError(where_, "must hold a trie of whole units, got one of " + std::to_string(size) + " bytes in " +
                                 std::to_string(bytes.size()));
  for (size_t at = 4; at < 4 + size_t{size}; at += 4) units_.push_back(little_endian(bytes, at));
  replacements_ = bytes.substr(4 + size);
  try {
    check_utf8(replacements_);
  } catch (const std::invalid_argument& error) {
    throw ModelError(where_, std::string("its replacements ") + error.what());
  }
}

uint32_t Charsmap::unit(size_t index) const {
  if (index >= units_.size())
    throw ModelError(where_, "its trie points outside itself; take the file of the checkpoint");
  return units_[index];
}

std::optional<std::string_view> Charsmap::look_up(std::string_view text) const {
  size_t node = offset(unit(0));
  for (char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte == 0) return {};
    node ^= byte;
    const uint32_t here = unit(node);
    if (label(here) != byte) return {};
    node ^= offset(here);
    if (!has_leaf(here)) continue;
    const uint32_t start = value(unit(node));
    const bool inside_character = start < replacements_.size() && (replacements_[start] & 0xC0) == 0x80;
    if (start > replacements_.size() || inside_character)
      throw ModelError(where_, "its trie points outside the replacements; take the file of the checkpoint");
    return std::string_view(replacements_).substr(start, replacements_.find('\0', start) - start);
  }
  return {};
}

std::string Charsmap::operator()(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  for_each_cluster(text, [&](std::string_view cluster) {
    if (cluster.size() < kWholeClusterBelow) {
      if (auto whole = look_up(cluster)) {
        result += *whole;
        return;
      }
    }
    char32_t character;
    for (size_t at = 0; at < cluster.size();) {
      const size_t begin = at;
      if (!next_code_point(cluster, at, character)) break;
      const std::string_view part = cluster.substr(begin, at - begin);
      result += look_up(part).value_or(part);
    }
  });
  return result;
}

}  // namespace wan::text
