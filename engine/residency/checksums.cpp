#include "engine/residency/checksums.h"

#include <algorithm>
#include <cctype>

#include "engine/base/listing.h"
#include "engine/base/text.h"
#include "models/files/bytes.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr size_t kDigits = 64;
constexpr size_t kLargestList = 16 << 20;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return out;
}

bool is_sha256(std::string_view text) {
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = std::min(text.find_first_not_of(kSpace), text.size());
  const size_t end = text.find_last_not_of(kSpace);
  return text.substr(begin, end == text.npos ? 0 : end + 1 - begin);
}

/// A name in which sha256sum has written a line feed as \n and a backslash as two.
std::string unescaped(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool escape = name[i] == '\\' && i + 1 < name.size();
    out += !escape ? name[i] : name[++i] == 'n' ? '\n' : name[i];
  }
  return out;
}

std::string normal(const std::string& name) {
  return fs::path(name).lexically_normal().generic_string();
}

/// One line of a list; false where it is none.
bool take_line(std::string_view line, std::string& name, std::string& sha256) {
  line = trimmed(line);
  constexpr std::string_view kBsd = "SHA256 (";
  if (const size_t close = line.rfind(") = "); line.starts_with(kBsd) && close != line.npos) {
    name = line.substr(kBsd.size(), close - kBsd.size());
    sha256 = lower(line.substr(close + 4));
    return is_sha256(sha256);
  }
  const bool escaped = line.starts_with('\\');
  if (escaped) line.remove_prefix(1);
  if (!is_sha256(line.substr(0, kDigits))) return false;
  sha256 = lower(line.substr(0, kDigits));
  std::string_view rest = line.substr(kDigits);
  if (!rest.empty() && rest[0] != ' ' && rest[0] != '\t') return false;
  rest = trimmed(rest);
  if (rest.starts_with('*')) rest.remove_prefix(1);
  name = escaped ? unescaped(rest) : std::string(rest);
  return true;
}

/// What is wrong with a line that take_line refuses.
std::string wrong_line(size_t number, std::string_view line) {
  line = trimmed(line);
  const size_t digits = std::min(line.find_first_not_of("0123456789abcdefABCDEF"), line.size());
  const bool sum = digits > 8 && (digits == line.size() || line[digits] == ' ' || line[digits] == '\t');
  return "line " + std::to_string(number) + " has " +
         (sum ? std::to_string(digits) + " digits" : "'" + shown_text(line, 60) + "'");
}

/// Adds an entry. One that is there already stays; with another sum it is an error about the file `list`.
void add_entry(Checksums& found, const fs::path& list, const std::string& name, Checksums::Entry entry) {
  const auto [at, added] = found.entries.emplace(name, entry);
  if (added || at->second.sha256 == entry.sha256) return;
  const auto place = [](const Checksums::Entry& one) { return one.list + " line " + std::to_string(one.line); };
  throw ModelError(list.string(), "must have one sum for a file, and " + shown_text(name, 120) + " has two: in " +
                                      place(at->second) + " and " + place(entry) + "; take the wrong one out");
}

/// Adds the lines of a list whose names are relative to `folder`. A name that is there already stays.
void add_list(Checksums& found, const fs::path& list, const fs::path& folder) {
  const auto file = MappedFile::open(list);
  if (file->bytes().size() > kLargestList) throw ModelError(list.string(), "must be a list of checksums below 16 MB");
  const std::string shown = shown_name(list.string());
  size_t count = 0;
  std::string name, sha256;
  size_t number = 0;
  std::vector<std::string> wrong;  // the first lines that are none, as messages name them
  size_t wrong_lines = 0;
  for (size_t at = 0; at < file->bytes().size();) {
    const size_t end = std::min(file->bytes().find('\n', at), file->bytes().size());
    const std::string_view line = file->bytes().substr(at, end - at);
    at = end + 1;
    ++number;
    if (take_line(line, name, sha256)) {
      if (name.empty()) name = list.stem().string();  // a file of its own, with nothing but the digits
      add_entry(found, list, normal((folder / name).string()), {sha256, shown, number});
      ++count;
    } else if (!trimmed(line).empty() && !line.starts_with('#')) {
      if (++wrong_lines <= kListedNames) wrong.push_back(wrong_line(number, line));
    }
  }
  if (count == 0)
    throw ModelError(list.string(),
                     "must hold lines of 64 hexadecimal digits and a name, as sha256sum writes, has none");
  if (wrong_lines > wrong.size()) wrong.push_back(std::to_string(wrong_lines - wrong.size()) + " more");
  if (!wrong.empty())
    throw ModelError(list.string(), "must hold lines of 64 hexadecimal digits and a name, as sha256sum writes, and " +
                                        either(wrong, " and ") + "; correct the list, or download it again");
  found.lists.push_back(shown);
}

/// The second line of hf download's note for a file: the checksum of a large one.
std::string noted_by_hub(const fs::path& note) {
  std::error_code error;
  if (!fs::is_regular_file(note, error) || fs::file_size(note, error) > 4096) return "";
  const auto file = MappedFile::open(note);
  ByteReader lines(file->bytes(), note.string());
  try {
    lines.line();
    const std::string etag = lower(trimmed(lines.line()));
    return is_sha256(etag) ? etag : "";
  } catch (const ModelError&) {
    return "";
  }
}

}  // namespace

bool is_checksum_list(const fs::path& file) {
  const std::string name = lower(file.filename().string());
  return name.starts_with("sha256sum") || name.ends_with(".sha256") || name.ends_with(".sha256sum") ||
         name.ends_with(".sha256sums");
}

Checksums read_checksums(const fs::path& list) {
  Checksums found;
  add_list(found, list, {});
  return found;
}

Checksums find_checksums(const fs::path& folder, const std::vector<fs::path>& files) {
  Checksums found;
  for (const fs::path& file : files)
    if (is_checksum_list(file)) add_list(found, folder / file, file.parent_path());
  std::error_code error;
  size_t notes = 0, blobs = 0;
  for (const fs::path& file : files) {
    const fs::path note = folder / ".cache" / "huggingface" / "download" / (file.string() + ".metadata");
    if (const std::string sha256 = noted_by_hub(note); !sha256.empty())
      notes += found.entries.emplace(normal(file.string()), Checksums::Entry{sha256, ".cache/huggingface", 0}).second;
    const std::string blob = fs::read_symlink(folder / file, error).filename().string();
    if (!error && is_sha256(blob))
      blobs += found.entries.emplace(normal(file.string()), Checksums::Entry{lower(blob), "blobs", 0}).second;
  }
  if (notes > 0) found.lists.push_back(".cache/huggingface");
  if (blobs > 0) found.lists.push_back("blobs");
  return found;
}

}  // namespace wan
