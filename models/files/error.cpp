#include "models/files/error.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "models/files/public_url.h"

namespace wan {

namespace {

/// The subject is a path, or a path and a tensor: `FILE: TENSOR`. The tensor's name may hold slashes, too.
std::string shown_subject(const std::string& subject) {
  const size_t end = std::min(subject.find(": "), subject.size());
  return shown_name(subject.substr(0, end), true) + subject.substr(end);
}

}  // namespace

ModelError::ModelError(const std::string& about, const std::string& what)
    : std::runtime_error("[" + shown_subject(about) + "] " + what), subject(shown_subject(about)) {}

std::string shown_name(std::string_view path, bool with_folder) {
  if (!path.starts_with('/')) return public_url(std::string(path));
  std::vector<std::string_view> names;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (end > at) names.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  if (names.empty()) return "/";
  const std::string name(names.back());
  return with_folder && names.size() > 3 ? std::string(names[names.size() - 2]) + "/" + name : name;
}

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  std::string out;
  for (unsigned char byte : text.substr(0, kLongest)) {
    if (byte >= 0x20 && byte < 0x7F) {
      out += static_cast<char>(byte);
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02X", byte);
      out += escaped;
    }
  }
  return text.size() > kLongest ? out + "..." : out;
}

}  // namespace wan
