// Read from PEFT's published source: src/peft/utils/other.py, get_pattern_key.
#include "models/weights/lora/module_pattern.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <regex>
#include <stdexcept>

namespace wan::lora {
namespace {

constexpr size_t kMostBytes = 200;

/// `(.*\.)?KEY$` of a key that is a name.
bool ends_with_name(std::string_view module, std::string_view key) {
  if (module.size() < key.size()) return false;
  const std::string_view before = module.substr(0, module.size() - key.size());
  const std::string_view end = module.substr(before.size());
  const auto fits = [](char wanted, char came) { return wanted == '.' || wanted == came; };
  return (before.empty() || before.ends_with('.')) && std::equal(key.begin(), key.end(), end.begin(), fits);
}

/// Whether a group is other than a plain one: to look ahead at each character multiplies the time at each depth.
bool has_special_group(const std::string& key) {
  for (size_t at = key.find("(?"); at != key.npos; at = key.find("(?", at + 1))
    if (key.compare(at, 3, "(?:") != 0) return true;
  return false;
}

}  // namespace

bool is_name(std::string_view key) {
  return std::all_of(key.begin(), key.end(), [](unsigned char letter) {
    return std::isalnum(letter) || letter == '_' || letter == '-' || letter == '.';
  });
}

ModulePattern module_pattern(const std::string& key) {
  if (is_name(key)) return [key](std::string_view module) { return ends_with_name(module, key); };
  if (key.size() > kMostBytes || key.find('{') != key.npos || has_special_group(key))
    throw std::invalid_argument("no plain expression");
  try {
    // __polynomial is libstdc++'s matcher that does not go back: the time is bounded whatever the expression.
    const auto expression = std::make_shared<const std::regex>(
        "(.*\\.)?(" + key + ")", std::regex_constants::ECMAScript | std::regex_constants::__polynomial);
    return [expression](std::string_view module) {
      return module.size() <= kMostBytes && std::regex_match(module.begin(), module.end(), *expression);
    };
  } catch (const std::regex_error&) {
    throw std::invalid_argument("no expression");
  }
}

}  // namespace wan::lora
