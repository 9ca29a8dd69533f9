#include "engine/serve/api/form_data.h"

#include <algorithm>

#include "engine/serve/net/text.h"

namespace wan::serve {
namespace {

constexpr size_t kMostParts = 100, kMostHead = 8 << 10, kMostBoundary = 200;

/// Takes what stands before the first `sign` off the text; all of it where there is none.
std::string_view cut(std::string_view& text, char sign) {
  const std::string_view first = text.substr(0, text.find(sign));
  text.remove_prefix(std::min(first.size() + 1, text.size()));
  return first;
}

/// The value behind the "=" of a parameter, in quotes or without; `rest` goes on behind it.
std::string value_of(std::string_view& rest) {
  if (!rest.starts_with('"')) return std::string(trimmed(cut(rest, ';')));
  std::string value;
  size_t at = 1;
  for (; at < rest.size() && rest[at] != '"'; ++at) {
    // Browsers and clients escape a quote so; a backslash alone stands in names of files.
    if (rest[at] == '\\' && at + 1 < rest.size() && (rest[at + 1] == '"' || rest[at + 1] == '\\')) ++at;
    value += rest[at];
  }
  rest.remove_prefix(std::min(at + 1, rest.size()));
  cut(rest, ';');
  return value;
}

/// The parameter of a header's value, "name" of `form-data; name="x"`; nothing where it is absent.
std::optional<std::string> parameter(std::string_view header, std::string_view wanted) {
  cut(header, ';');
  while (!header.empty()) {
    const size_t sign = header.find('=');
    if (sign == header.npos) return std::nullopt;
    const std::string_view name = trimmed(header.substr(0, sign));
    header.remove_prefix(sign + 1);
    while (header.starts_with(' ')) header.remove_prefix(1);
    std::string value = value_of(header);
    if (same_word(name, wanted)) return value;
  }
  return std::nullopt;
}

/// Name, file name and type of a part, from its head.
FormPart part_of(std::string_view head) {
  FormPart part;
  bool is_named = false;
  while (!head.empty()) {
    std::string_view line = cut(head, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::string_view name = trimmed(cut(line, ':'));
    if (same_word(name, "Content-Type")) part.type = std::string(trimmed(line));
    if (!same_word(name, "Content-Disposition")) continue;
    const std::optional<std::string> field = parameter(line, "name"), file = parameter(line, "filename");
    is_named = field && !field->empty();
    if (field) part.name = *field;
    if (file) part.file_name = *file;
    part.is_file = file.has_value() || parameter(line, "filename*").has_value();
  }
  if (!is_named) throw BrokenForm("has a part without a name; each needs Content-Disposition: form-data; name=\"...\"");
  return part;
}

}  // namespace

std::optional<std::string> form_boundary(std::string_view content_type) {
  if (!same_word(trimmed(content_type.substr(0, content_type.find(';'))), "multipart/form-data")) return std::nullopt;
  return parameter(content_type, "boundary").value_or("");
}

std::vector<FormPart> form_parts(std::string_view body, const std::string& boundary) {
  if (boundary.empty() || boundary.size() > kMostBoundary)
    throw BrokenForm("must be announced with a boundary: Content-Type: multipart/form-data; boundary=...");
  const std::string line = "--" + boundary, next = "\r\n" + line;
  size_t at = 0;
  if (!body.starts_with(line)) {
    at = body.find(next);
    if (at == body.npos) throw BrokenForm("does not begin with the boundary that Content-Type names");
    at += 2;
  }
  std::vector<FormPart> parts;
  for (;;) {
    size_t rest = at + line.size();
    if (body.substr(rest).starts_with("--")) return parts;
    rest = std::min(body.find_first_not_of(" \t", rest), body.size());
    if (!body.substr(rest).starts_with("\r\n"))
      throw BrokenForm("has something else than a line break behind a boundary");
    // From the line break on, so that a part without a head has an end of it, too.
    const size_t end_of_head = body.find("\r\n\r\n", rest);
    if (end_of_head == body.npos || end_of_head - rest > kMostHead)
      throw BrokenForm("has a part whose head does not end within " + std::to_string(kMostHead) + " bytes");
    const std::string_view head = body.substr(rest, end_of_head - rest);
    const size_t begin = end_of_head + 4, end = body.find(next, begin);
    if (end == body.npos) throw BrokenForm("ends within a part: the boundary behind it is missing");
    if (parts.size() == kMostParts) throw BrokenForm("must have at most " + std::to_string(kMostParts) + " parts");
    parts.push_back(part_of(head));
    parts.back().bytes = body.substr(begin, end - begin);
    at = end + 2;
  }
}

}  // namespace wan::serve
