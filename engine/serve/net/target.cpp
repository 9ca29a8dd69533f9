#include "engine/serve/net/target.h"

#include <algorithm>
#include <optional>

#include "engine/serve/net/answer.h"
#include "engine/serve/net/text.h"
#include "models/files/utf8.h"

namespace wan::serve {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw HttpError(error_answer(400, "[path] " + what));
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The byte that "%41" at `at` stands for.
std::optional<char> escaped(std::string_view text, size_t at) {
  if (at + 2 >= text.size()) return {};
  const int high = digit(text[at + 1]), low = digit(text[at + 2]);
  if (high < 0 || low < 0) return {};
  return static_cast<char>(high * 16 + low);
}

std::string decoded_path(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const std::optional<char> byte = escaped(text, i);
    if (!byte) refuse("must have two hexadecimal digits behind each %");
    decoded += *byte;
    i += 2;
  }
  return decoded;
}

std::string decoded_query(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const std::optional<char> byte = text[i] == '%' ? escaped(text, i) : std::nullopt;
    if (byte) {
      decoded += *byte;
      i += 2;
    } else {
      decoded += text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

bool has_control_character(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

/// Of the decoded path, since "%2f..%2f" hides a segment as well as "%2e%2e".
void check_path(const std::string& path) {
  if (has_control_character(path)) refuse("must not have control characters");
  if (path.find('\\') != path.npos) refuse("must not have backslashes");
  if (!is_utf8(path)) refuse("must be UTF-8");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = std::string_view(path).substr(begin, end - begin);
    if (segment == "." || segment == "..") refuse("must not have the segments . and ..");
    begin = end + 1;
  }
}

std::map<std::string, std::string> parse_query(std::string_view text) {
  std::map<std::string, std::string> query;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    std::string name = decoded_query(pair.substr(0, equals));
    std::string value = decoded_query(pair.substr(std::min(equals + 1, pair.size())));
    if (name.find('\0') != name.npos || value.find('\0') != value.npos) {
      throw HttpError(error_answer(400, "[query] must not have zero bytes"));
    }
    query.insert_or_assign(std::move(name), std::move(value));
  }
  return query;
}

/// "/path?query" of "http://host/path?query".
std::string_view origin_form(std::string_view target) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!same_word(target.substr(0, scheme.size()), scheme)) continue;
    const std::string_view rest = target.substr(scheme.size());
    const size_t path = rest.find_first_of("/?");
    if (path == 0) refuse("must have a host behind " + std::string(scheme));
    return path == rest.npos ? std::string_view{} : rest.substr(path);
  }
  return target;
}

}  // namespace

Target parse_target(std::string_view method, std::string_view target) {
  if (target == "*" && method == "OPTIONS") return {.path = "/", .segments = {}, .query = {}};
  std::string_view rest = origin_form(target);
  const bool absolute = rest.size() != target.size();
  if (rest.find('#') != rest.npos) refuse("must not have a fragment");
  const size_t mark = std::min(rest.find('?'), rest.size());
  std::string_view path = rest.substr(0, mark);
  if (absolute && path.empty()) path = "/";
  if (path.empty() || path.front() != '/') refuse("must begin with /");

  Target parsed;
  parsed.path = decoded_path(path);
  check_path(parsed.path);
  for (path.remove_prefix(1); !path.empty();) {
    const std::string_view segment = path.substr(0, path.find('/'));
    parsed.segments.push_back(decoded_path(segment));
    path.remove_prefix(std::min(segment.size() + 1, path.size()));
  }
  if (mark < rest.size()) parsed.query = parse_query(rest.substr(mark + 1));
  return parsed;
}

}  // namespace wan::serve
