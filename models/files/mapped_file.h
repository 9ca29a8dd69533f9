// Files mapped into memory, never copied.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

namespace wan {

/// A read-only mapping of a whole file. The pages stay evictable; the file is not copied. Its size is that of the
/// moment of opening: a file that another program cuts short afterwards ends the process (install_bus_handler says
/// which), as with every memory-mapping loader.
class MappedFile {
 public:
  /// Follows symbolic links. Throws ModelError where the file is absent, unreadable or not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::filesystem::path path, const char* data, size_t size);
  std::filesystem::path path_;
  const char* data_;
  size_t size_;
  int watched_ = -1;  // number of the range
};

}  // namespace wan
