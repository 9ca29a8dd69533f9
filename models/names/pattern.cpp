#include "models/names/pattern.h"

#include <algorithm>

namespace wan::names {
namespace {

/// The segment that begins at `at`; moves `at` behind the "." after it, past the end where it is the last one.
std::string_view take_segment(std::string_view path, size_t& at) {
  const size_t begin = at, end = std::min(path.find('.', at), path.size());
  at = end + 1;
  return path.substr(begin, end - begin);
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

}  // namespace

std::optional<Match> match(std::string_view name, std::string_view path) {
  Match found;
  size_t at = 0;
  for (size_t in_path = 0; in_path <= path.size();) {
    if (at > name.size()) return std::nullopt;
    const std::string_view wanted = take_segment(path, in_path), segment = take_segment(name, at);
    if (wanted == "*" ? !is_number(segment) : wanted != segment) return std::nullopt;
    if (wanted == "*") found.numbers.push_back(segment);
  }
  found.rest = name.substr(at - 1);
  return found;
}

std::string translate(std::string_view name, Table table) {
  for (const Row& row : table) {
    const auto found = match(name, row.from);
    if (!found) continue;
    std::string translated;
    size_t number = 0;
    for (char c : row.to) {
      if (c == '*')
        translated += found->numbers.at(number++);
      else
        translated += c;
    }
    return translated += found->rest;
  }
  return std::string(name);
}

}  // namespace wan::names
