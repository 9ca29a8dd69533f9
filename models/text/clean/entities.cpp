#include "models/text/clean/entities.h"

#include <algorithm>
#include <optional>

#include "models/text/clean/mojibake.h"

namespace wan::text {
namespace {

struct Entity {
  std::string_view name;  // without `&`; the semicolon, where there is one, is part of it
  std::u32string_view text;
  std::u32string_view capitals;  // what the name in capitals means to ftfy; empty where it means nothing
};

#include "models/text/clean/entities.inc"

constexpr size_t kLongestName = 32;

const Entity* find_entity(std::u32string_view name) {
  if (name.size() > kLongestName + 1) return nullptr;
  const std::string key(name.begin(), name.end());
  if (!std::equal(key.begin(), key.end(), name.begin())) return nullptr;  // not ASCII
  auto found = std::lower_bound(std::begin(kEntities), std::end(kEntities), key,
                                [](const Entity& entity, const std::string& key) { return entity.name < key; });
  return found != std::end(kEntities) && found->name == key ? found : nullptr;
}

bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int hexadecimal_digit(char32_t c) {
  if (is_digit(c)) return static_cast<int>(c - '0');
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? static_cast<int>(c - 'a' + 10) : -1;
}

/// What the HTML standard makes of a numeric reference; nothing for code points that it drops.
std::u32string numbered_character(char32_t number) {
  if (number == 0 || (number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF) return U"\xFFFD";
  if (number == 0x0D) return U"\r";
  if (number >= 0x80 && number <= 0x9F) return fix_c1_controls({number});
  const bool control = number < 0x09 || number == 0x0B || (number >= 0x0E && number < 0x20) || number == 0x7F;
  const bool not_a_character = (number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE;
  if (control || not_a_character) return {};
  return {number};
}

struct Replacement {
  size_t length;  // of what is replaced, from `&` on
  std::u32string text;
};

/// The reference `&#...` at the start of `rest`, its semicolon included where there is one.
std::optional<Replacement> numeric_reference(std::u32string_view rest) {
  if (rest.size() < 3 || rest[1] != '#') return {};
  const bool hexadecimal = rest[2] == 'x' || rest[2] == 'X';
  const int base = hexadecimal ? 16 : 10;
  const size_t begin = hexadecimal ? 3 : 2;
  size_t end = begin;
  char32_t number = 0;
  for (; end < rest.size(); ++end) {
    const int digit = hexadecimal_digit(rest[end]);
    if (digit < 0 || digit >= base) break;
    number = std::min<char32_t>(number * base + digit, 0x110000);  // one above the last code point is enough to know
  }
  if (end == begin) return {};
  if (end < rest.size() && rest[end] == ';') ++end;
  return Replacement{end, numbered_character(number)};
}

/// The reference `&name` at the start of `rest`: the whole name, or else its longest beginning that is known.
std::optional<Replacement> named_reference(std::u32string_view rest) {
  const auto stops = [](char32_t c) {
    return std::u32string_view(U"\t\n\f <&#;").find(c) != std::u32string_view::npos;
  };
  size_t end = 1;
  while (end < rest.size() && end <= kLongestName && !stops(rest[end])) ++end;
  if (end == 1) return {};
  if (end < rest.size() && rest[end] == ';') ++end;
  for (size_t stop = end; stop > 2; --stop)
    if (const Entity* entity = find_entity(rest.substr(1, stop - 1)))
      return Replacement{stop, std::u32string(entity->text)};
  return {};
}

/// The reference `&...;` at the start of `rest` that ftfy recognises.
std::optional<Replacement> closed_reference(std::u32string_view rest) {
  const size_t first = rest.size() > 1 && rest[1] == '#' ? 2 : 1;
  size_t end = first;
  while (end < rest.size() && (is_digit(rest[end]) || is_letter(rest[end]))) ++end;
  if (end == first || end - first > 24 || end == rest.size() || rest[end] != ';') return {};
  ++end;
  if (first == 2) {
    auto number = numeric_reference(rest);
    // The semicolon has to be consumed, and `&#59;`, a semicolon itself, looks as if it were not: ftfy leaves it.
    return number && number->length == end && number->text != U";" ? number : std::nullopt;
  }
  const std::u32string_view name = rest.substr(1, end - 1);
  if (const Entity* entity = find_entity(name)) return Replacement{end, std::u32string(entity->text)};
  std::u32string small(name);
  for (char32_t& c : small) {
    if (c >= 'a' && c <= 'z') return {};
    if (is_letter(c)) c |= 0x20;
  }
  const Entity* entity = find_entity(small);
  if (!entity || entity->capitals.empty()) return {};
  return Replacement{end, std::u32string(entity->capitals)};
}

template <typename Reference>
std::u32string replace_references(std::u32string_view text, Reference reference_at) {
  std::u32string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    std::optional<Replacement> found;
    if (text[at] == '&') found = reference_at(text.substr(at));
    if (found) {
      result += found->text;
      at += found->length;
    } else {
      result += text[at++];
    }
  }
  return result;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  return replace_references(text, [](std::u32string_view rest) {
    auto number = numeric_reference(rest);
    return number ? number : named_reference(rest);
  });
}

std::u32string unescape_closed_entities(std::u32string_view text) {
  return replace_references(text, closed_reference);
}

}  // namespace wan::text
