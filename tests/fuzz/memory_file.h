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

 private:
  int file_;
};

}  // namespace wan::fuzz
