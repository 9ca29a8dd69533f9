#include "tools/cli/openmp.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>

#include "engine/base/text.h"

namespace wan {
namespace {

/// Without white space at both ends.
std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char letter) { return std::isspace(static_cast<unsigned char>(letter)); };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// A whole number from 1 up to nine digits.
bool is_count(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
  return !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// One for each level of nested threads: "4,2".
bool are_counts(std::string_view text) {
  for (size_t comma; (comma = text.find(',')) != std::string_view::npos; text.remove_prefix(comma + 1))
    if (!is_count(text.substr(0, comma))) return false;
  return is_count(text);
}

/// In letters of any size.
bool is_word(std::string_view text, std::string_view word) {
  text = trimmed(text);
  return std::equal(text.begin(), text.end(), word.begin(), word.end(), [](char letter, char wanted) {
    return std::tolower(static_cast<unsigned char>(letter)) == wanted;
  });
}

bool is_truth(std::string_view text) {
  return is_word(text, "true") || is_word(text, "false");
}

bool is_policy(std::string_view text) {
  return is_word(text, "active") || is_word(text, "passive");
}

struct Variable {
  const char* name;
  bool (*is_right)(std::string_view value);
  const char *wanted, *way;
};

constexpr Variable kVariables[] = {
    {"OMP_NUM_THREADS", are_counts, "a whole number from 1 on, or several with commas between",
     "unset it, and --threads N sets the number"},
    {"OMP_THREAD_LIMIT", is_count, "a whole number from 1 on", "unset it, and --threads N sets the number"},
    {"OMP_DYNAMIC", is_truth, "true or false", "unset it"},
    {"OMP_WAIT_POLICY", is_policy, "active or passive", "unset it"},
};

}  // namespace

std::string wrong_openmp() {
  for (const Variable& variable : kVariables) {
    const char* value = std::getenv(variable.name);
    if (!value) continue;
    if (trimmed(value).empty())
      unsetenv(variable.name);
    else if (!variable.is_right(value))
      return "[" + std::string(variable.name) + "] must be " + variable.wanted + ", got " + shown(value) + "; " +
             variable.way;
  }
  return "";
}

}  // namespace wan
