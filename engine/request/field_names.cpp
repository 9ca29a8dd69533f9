#include "engine/request/field_names.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "engine/request/params.h"

namespace wan {
namespace {

/// What stands for a flag; the flag itself where no parameter has it.
std::string field_of(const std::string& flag) {
  for (const Parameter& parameter : parameters()) {
    const std::string own = parameter.flag();
    if (flag == own) return parameter.name;
    if (flag == "--no-" + own.substr(2)) return std::string(parameter.name) + " false";
  }
  return flag;
}

/// Whether a flag may begin there: two dashes within a word, as a file may be called, begin none.
bool begins_word(const std::string& text, size_t at) {
  if (at == 0) return true;
  const char before = text[at - 1];
  return !std::isalnum(static_cast<unsigned char>(before)) &&
         std::string_view("-._/").find(before) == std::string::npos;
}

}  // namespace

std::string with_field_names(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t flag = std::min(text.find("--", at), text.size());
    out += text.substr(at, flag - at);
    size_t end = std::min(flag + 2, text.size());
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '-')) ++end;
    const std::string word = text.substr(flag, end - flag);
    out += begins_word(text, flag) ? field_of(word) : word;
    at = end;
  }
  return out;
}

}  // namespace wan
