#include "engine/serve/work/saved_mark.h"

#include <algorithm>
#include <fstream>
#include <system_error>
#include <vector>

#include "models/files/digest.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

// Of each file: safetensors files have the digest of their tensors in their header.
constexpr size_t kLookedAt = 64 << 10;
constexpr const char* kJournal = "journal.jsonl";  // grows with each attempt, also with one that gets nowhere

bool is_saved_work(const std::string& name) {
  return name != kJournal && !name.ends_with(".part");
}

std::string beginning(const fs::path& file) {
  std::string bytes(kLookedAt, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(bytes.data(), std::streamsize(bytes.size()));
  bytes.resize(size_t(std::max<std::streamsize>(in.gcount(), 0)));
  return bytes;
}

/// A line for each file of the folder, and of the folders in it.
void describe(const fs::path& folder, const std::string& name, bool has_folders, std::vector<std::string>& lines) {
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string own = at->path().filename().string();
    std::error_code gone;
    const fs::file_status status = at->symlink_status(gone);
    if (!is_saved_work(own)) continue;
    if (fs::is_directory(status) && has_folders) describe(at->path(), name + own + "/", false, lines);
    if (!fs::is_regular_file(status)) continue;
    const uint64_t size = fs::file_size(at->path(), gone);
    lines.push_back(name + own + " " + std::to_string(size) + " " + sha256({beginning(at->path())}) + "\n");
  }
}

}  // namespace

std::string saved_mark(const fs::path& folder) {
  std::vector<std::string> lines;
  describe(folder, "", true, lines);
  if (lines.empty()) return "";
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line;
  return sha256({all}).substr(0, 32);
}

}  // namespace wan::serve
