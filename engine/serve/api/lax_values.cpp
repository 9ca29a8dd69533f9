#include "engine/serve/api/lax_values.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "engine/serve/net/text.h"
#include "models/files/utf8.h"

namespace wan::serve {
namespace {

using nlohmann::json;

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// Without white space around it.
std::string_view without_space(std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    char32_t letter = 0;
    if (!next_code_point(text, at, letter)) return text;
    if (is_space(letter)) continue;
    if (begin > start) begin = start;
    end = at;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

/// "8_0" is "80"; nothing where an underscore does not stand between two others.
std::optional<std::string> without_underscores(std::string_view text) {
  if (text.starts_with('_') || text.ends_with('_') || text.find("__") != text.npos) return std::nullopt;
  std::string digits;
  for (const char letter : text)
    if (letter != '_') digits += letter;
  return digits;
}

/// Nothing where the text is no whole number; Size where it is one of more than 64 bits.
LaxInteger integer_in(std::string_view text) {
  text = without_space(text);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (const size_t point = text.find('.'); point != text.npos) {
    if (point + 1 == text.size() || !all_are(text.substr(point + 1), "0")) return {LaxInteger::Parsing};
    text = text.substr(0, point);
  }
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits || digits->empty() || !all_are(*digits, "0123456789")) return {LaxInteger::Parsing};
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), number);
  if (error != std::errc()) return {LaxInteger::Size};
  if (!negative) return {LaxInteger::None, number};
  if (number > uint64_t(1) << 63) return {LaxInteger::Size};
  return {LaxInteger::None, number == uint64_t(1) << 63 ? INT64_MIN : -int64_t(number)};
}

std::optional<double> number_in(std::string_view text) {
  std::optional<std::string> letters = without_underscores(without_space(text));
  if (!letters) return std::nullopt;
  std::string_view rest = *letters;
  if (rest.starts_with('+')) {
    rest.remove_prefix(1);
    if (rest.starts_with('-')) return std::nullopt;
  }
  if (rest.find('(') != rest.npos) return std::nullopt;  // nan(...), which C++ reads
  double number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (rest.empty() || end != rest.data() + rest.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    const size_t exponent = rest.find_first_of("eE");
    const bool tiny = exponent != rest.npos && rest.substr(exponent + 1).starts_with('-');
    const double size = tiny ? 0 : std::numeric_limits<double>::infinity();
    return rest.starts_with('-') ? -size : size;
  }
  return number;
}

}  // namespace

LaxInteger lax_integer(const json& value) {
  if (value.is_boolean()) return {LaxInteger::None, value.get<bool>() ? 1 : 0};
  if (value.is_number_integer()) return {LaxInteger::None, value};
  if (value.is_string()) return integer_in(value.get_ref<const std::string&>());
  if (!value.is_number_float()) return {LaxInteger::Type};
  const auto number = value.get<double>();
  if (std::trunc(number) != number) return {LaxInteger::Fraction};
  if (std::abs(number) >= 0x1p63) return {LaxInteger::Size};
  return {LaxInteger::None, int64_t(number)};
}

std::optional<double> lax_number(const json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return number_in(value.get_ref<const std::string&>());
  return std::nullopt;
}

std::optional<bool> lax_boolean(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) {
    if (value == 0) return false;
    if (value == 1) return true;
    return std::nullopt;
  }
  if (!value.is_string()) return std::nullopt;
  std::string word = value.get_ref<const std::string&>();
  for (char& letter : word)
    if (letter >= 'A' && letter <= 'Z') letter = char(letter - 'A' + 'a');
  for (const char* yes : {"true", "t", "yes", "y", "on", "1"})
    if (word == yes) return true;
  for (const char* no : {"false", "f", "no", "n", "off", "0"})
    if (word == no) return false;
  return std::nullopt;
}

}  // namespace wan::serve
