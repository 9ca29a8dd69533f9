#include "models/text/clean/fix_text.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <span>

#include "models/text/clean/entities.h"
#include "models/text/clean/mojibake.h"
#include "models/text/clean/normal_form.h"

namespace wan::text {
namespace {

struct Replacement {
  char32_t character;
  std::u32string_view text;
};

#include "models/text/clean/characters.inc"

constexpr size_t kLongestSegment = 1'000'000;  // ftfy's max_decode_length, in code points

std::u32string replace_characters(std::u32string_view text, std::span<const Replacement> table) {
  std::u32string result;
  result.reserve(text.size());
  for (char32_t c : text) {
    if (c < table.front().character) {  // most of most texts
      result += c;
      continue;
    }
    auto found = std::lower_bound(table.begin(), table.end(), c,
                                  [](const Replacement& entry, char32_t c) { return entry.character < c; });
    if (found != table.end() && found->character == c)
      result += found->text;
    else
      result += c;
  }
  return result;
}

void uncurl_quotes(std::u32string& text) {
  for (char32_t& c : text) {
    if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) c = U'\'';
    if (c >= 0x201C && c <= 0x201F) c = U'"';
  }
}

/// CR, CR LF, NEL, LINE SEPARATOR and PARAGRAPH SEPARATOR as a line feed.
std::u32string fix_line_breaks(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size(); ++at) {
    const char32_t c = text[at];
    if (c == '\r' && at + 1 < text.size() && text[at + 1] == '\n') continue;
    result += c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029 ? U'\n' : c;
  }
  return result;
}

/// ESC [ digits and semicolons, letter. Digits are those of Unicode, as in the reference.
std::u32string remove_terminal_escapes(std::u32string_view text) {
  const auto is_parameter = [](char32_t c) {
    return c == ';' || u_charType(static_cast<UChar32>(c)) == U_DECIMAL_DIGIT_NUMBER;
  };
  const auto is_letter = [](char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  std::u32string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size(); ++at) {
    if (text.substr(at).starts_with(U"\x1b[")) {
      size_t end = at + 2;
      while (end < text.size() && is_parameter(text[end])) ++end;
      if (end < text.size() && is_letter(text[end])) {
        at = end;
        continue;
      }
    }
    result += text[at];
  }
  return result;
}

/// Controls without a use in text; those that make white space or steer letters stay.
void remove_control_characters(std::u32string& text) {
  std::erase_if(text, [](char32_t c) {
    return c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F || (c >= 0x206A && c <= 0x206F) ||
           c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
  });
}

/// Surrogates, which ftfy joins here, cannot occur: the text comes from strict UTF-8, and no step makes them.
std::u32string fix_segment(std::u32string text, bool unescape) {
  while (true) {
    std::u32string fixed = unescape ? unescape_closed_entities(text) : text;
    fixed = fix_c1_controls(fix_encoding(std::move(fixed)));
    fixed = replace_characters(fixed, kLigatures);
    fixed = replace_characters(fixed, kWidths);
    uncurl_quotes(fixed);
    fixed = fix_line_breaks(fixed);
    fixed = remove_terminal_escapes(fixed);
    remove_control_characters(fixed);
    fixed = normal_form(fixed, NormalForm::Nfc, UnicodeVersion::Python);
    if (fixed == text) return fixed;
    text = std::move(fixed);
  }
}

}  // namespace

std::u32string fix_text(std::u32string_view text) {
  std::u32string result;
  bool unescape = true;
  while (!text.empty()) {
    const size_t line_feed = text.find(U'\n');
    const size_t length = std::min(line_feed == text.npos ? text.size() : line_feed + 1, kLongestSegment);
    const std::u32string_view segment = text.substr(0, length);
    if (segment.find(U'<') != segment.npos) unescape = false;
    result += fix_segment(std::u32string(segment), unescape);
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace wan::text
