#include "models/files/error.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "models/files/public_url.h"
#include "models/files/utf8.h"

namespace wan {

namespace {

/// Where the path of a subject ends, which is a path, or a path and a tensor: `FILE: TENSOR`. Folders may hold ": " as
/// well, and tensors slashes: where it is not plain, what is there tells.
size_t end_of_path(const std::string& subject) {
  const size_t first = std::min(subject.find(": "), subject.size());
  if (first == subject.size() || !subject.starts_with('/')) return first;
  std::error_code ignored;
  if (std::filesystem::exists(subject, ignored)) return subject.size();
  for (size_t at = subject.rfind(": "); at > first; at = subject.rfind(": ", at - 1))
    if (std::filesystem::exists(subject.substr(0, at), ignored)) return at;
  // Of a file that is gone, its folder tells.
  const bool is_path = !std::filesystem::exists(subject.substr(0, first), ignored) &&
                       std::filesystem::exists(std::filesystem::path(subject).parent_path(), ignored);
  return is_path ? subject.size() : first;
}

std::string shown_subject(const std::string& subject) {
  const size_t end = end_of_path(subject);
  return shown_name(subject.substr(0, end), true) + shown_text(subject.substr(end), 600);
}

std::string lines_of(const std::vector<ModelError>& list) {
  std::string text;
  for (const ModelError& error : list) text += (text.empty() ? "" : "\n") + std::string(error.what());
  return text;
}

/// What a terminal would act upon, hide or turn around instead of showing it.
bool is_shown(char32_t c) {
  const bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
  const bool invisible =
      (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
  return !control && !invisible;
}

std::string escaped(std::string_view bytes) {
  std::string out;
  for (unsigned char byte : bytes) {
    char code[5];
    std::snprintf(code, sizeof code, "\\x%02X", byte);
    out += code;
  }
  return out;
}

/// Where a character begins, at `at` or before it.
size_t character_start(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (text[at] & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace

ModelErrors::ModelErrors(std::vector<ModelError> errors)
    : ModelError(lines_of(errors), errors.at(0)), list(std::move(errors)) {}

std::string shown_text(std::string_view text, size_t most) {
  if (text.size() > most) {
    const size_t half = most / 2;
    return shown_text(text.substr(0, character_start(text, half)), most) + "..." +
           shown_text(text.substr(character_start(text, text.size() - half)), most);
  }
  std::string out;
  char32_t character;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const bool whole = next_code_point(text, at, character);
    if (!whole) ++at;
    const std::string_view bytes = text.substr(begin, at - begin);
    out += whole && is_shown(character) ? std::string(bytes) : escaped(bytes);
  }
  return out;
}

ModelError::ModelError(const std::string& about, const std::string& wrong)
    : std::runtime_error("[" + shown_subject(about) + "] " + wrong), subject(shown_subject(about)), text(wrong) {}

ModelError::ModelError(const std::string& lines, const ModelError& first)
    : std::runtime_error(lines), subject(first.subject), text(first.text) {}

std::string shown_name(std::string_view path, bool with_folder) {
  if (!path.starts_with('/')) return shown_text(public_url(std::string(path)));
  std::vector<std::string_view> names;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (end > at) names.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  if (names.empty()) return "/";
  const std::string name = shown_text(names.back());
  return with_folder && names.size() > 3 ? shown_text(names[names.size() - 2], 100) + "/" + name : name;
}

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  std::string out;
  for (char byte : text.substr(0, kLongest))
    out += byte >= 0x20 && byte < 0x7F ? std::string(1, byte) : escaped({&byte, 1});
  return text.size() > kLongest ? out + "..." : out;
}

}  // namespace wan
