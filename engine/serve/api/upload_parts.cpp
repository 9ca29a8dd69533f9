#include "engine/serve/api/upload_parts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <sstream>
#include <system_error>

#include "engine/serve/net/new_file.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNote = "upload.json";

std::string name_of(int64_t number, const std::string& tag) {
  return std::to_string(number) + "." + tag;
}

/// The number in "12.TAG"; 0 for other files.
int64_t number_of(const fs::path& path) {
  const std::string name = path.filename().string();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end != name.data() + name.size() && *end == '.' ? number : 0;
}

/// Calls `use` with each part.
template <typename Use>
void each_part(const fs::path& folder, Use use) {
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed))
    if (const int64_t number = number_of(at->path())) use(*at, number);
}

class File {
 public:
  File(const fs::path& path, int flags) : path_(path), number_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    check(number_);
  }
  ~File() { close(number_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int64_t check(int64_t result) const {
    if (result < 0) throw std::system_error(errno, std::generic_category(), path_.filename().string());
    return result;
  }
  int number() const { return number_; }

 private:
  fs::path path_;
  int number_;
};

/// Within one file system the disk may share the bytes instead of copying them.
void append(const File& to, const File& from) {
  for (;;) {
    const ssize_t copied = copy_file_range(from.number(), nullptr, to.number(), nullptr, size_t(1) << 30, 0);
    if (copied == 0) return;
    if (copied > 0) continue;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) to.check(copied);
    break;
  }
  std::array<char, 1 << 18> bytes;
  while (const int64_t got = from.check(read(from.number(), bytes.data(), bytes.size())))
    for (int64_t written = 0; written < got;)
      written += to.check(write(to.number(), bytes.data() + written, size_t(got - written)));
}

}  // namespace

void UploadParts::begin(const UploadName& upload) const {
  const nlohmann::json note = {{"file", upload.file}, {"owner", upload.owner}, {"type", upload.type}};
  try {
    fs::create_directory(folder_);
    fs::permissions(folder_, fs::perms::owner_all);
    NewFile file(folder_ / kNote);
    file.create();
    file.write(note.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    file.keep();
  } catch (...) {
    remove();
    throw;
  }
}

std::optional<UploadName> UploadParts::upload() const {
  std::ifstream file(folder_ / kNote, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return std::nullopt;
  try {
    const nlohmann::json note = parse_json(text.str());
    return UploadName{.file = note.at("file"), .owner = note.at("owner"), .type = note.at("type")};
  } catch (const BrokenJson&) {
    return std::nullopt;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

uint64_t UploadParts::bytes_without(int64_t except) const {
  uint64_t bytes = 0;
  each_part(folder_, [&](const fs::directory_entry& entry, int64_t number) {
    std::error_code failed;
    const uint64_t size = entry.file_size(failed);
    if (number != except && !failed) bytes += size;
  });
  return bytes;
}

void UploadParts::take(const fs::path& written, int64_t number, const std::string& tag) const {
  std::vector<fs::path> earlier;
  each_part(folder_, [&](const fs::directory_entry& entry, int64_t other) {
    if (other == number) earlier.push_back(entry.path());
  });
  fs::rename(written, folder_ / name_of(number, tag));
  std::error_code ignored;
  for (const fs::path& path : earlier) fs::remove(path, ignored);
}

std::optional<std::vector<fs::path>> UploadParts::listed(std::vector<ListedPart> parts) const {
  std::sort(parts.begin(), parts.end(),
            [](const ListedPart& one, const ListedPart& other) { return one.number < other.number; });
  std::vector<fs::path> paths;
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string tag = parts[i].tag;
    std::erase(tag, '"');
    const bool twice = i > 0 && parts[i].number == parts[i - 1].number;
    const bool plain = !tag.empty() && tag.find_first_not_of("0123456789abcdef") == tag.npos;
    std::error_code failed;
    const fs::path path = folder_ / name_of(parts[i].number, tag);
    if (twice || !plain || !fs::is_regular_file(path, failed)) return std::nullopt;
    paths.push_back(path);
  }
  return paths.empty() ? std::nullopt : std::optional(std::move(paths));
}

std::optional<uint64_t> UploadParts::listed_bytes(const std::vector<ListedPart>& parts) const {
  const std::optional<std::vector<fs::path>> paths = listed(parts);
  if (!paths) return std::nullopt;
  uint64_t bytes = 0;
  for (const fs::path& path : *paths) bytes += fs::file_size(path);
  return bytes;
}

std::optional<uint64_t> UploadParts::join(std::vector<ListedPart> parts, const fs::path& into) const {
  const std::optional<std::vector<fs::path>> paths = listed(std::move(parts));
  if (!paths) return std::nullopt;
  std::error_code second, ignored;
  const File file(into, O_WRONLY | O_CREAT | O_EXCL);
  fs::rename(folder_, closed(), second);
  if (second) {  // another request joins them
    fs::remove(into, ignored);
    return std::nullopt;
  }
  try {
    for (const fs::path& path : *paths) append(file, File(closed() / path.filename(), O_RDONLY));
    return uint64_t(file.check(lseek(file.number(), 0, SEEK_CUR)));
  } catch (...) {
    fs::remove(into, ignored);
    reopen();
    throw;
  }
}

bool UploadParts::is_closed() const {
  std::error_code failed;
  return fs::is_directory(closed(), failed);
}

void UploadParts::reopen() const {
  std::error_code ignored;
  fs::rename(closed(), folder_, ignored);
}

void UploadParts::remove() const {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  fs::remove_all(closed(), ignored);
}

}  // namespace wan::serve
