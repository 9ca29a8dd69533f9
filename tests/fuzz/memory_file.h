// Bytes as a file, for readers that take one: in memory, without touching a disk.
#pragma once

#include <filesystem>
#include <string_view>

namespace wan::fuzz {

/// A regular file with these bytes, which is there as long as this object. Throws std::system_error.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  /// Has no extension, so that a reader goes by the content.
  std::filesystem::path path() const;
  /// As the file `at`, for readers that go by a name or look into a folder: a link, in place of what was there.
  void put(const std::filesystem::path& at) const;

 private:
  int file_;
};

}  // namespace wan::fuzz
