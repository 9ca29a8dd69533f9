// A file that is being written, and is removed where that does not succeed.
#pragma once

#include <filesystem>
#include <string_view>

namespace wan::serve {

/// Every call may block. Errors are std::system_error with the path.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path path) : path_(std::move(path)) {}
  ~NewFile() { remove(); }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// The path must be free. Others than this user cannot read the file.
  void create();
  void write(std::string_view bytes);
  /// It is complete; its bytes reach the disk when the system writes them.
  void keep();
  /// Nothing is left, unless it was kept.
  void remove() noexcept;

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace wan::serve
