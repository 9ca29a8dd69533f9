// A folder that one process at a time works in, or several that know of each other.
#pragma once

#include <filesystem>

namespace wan {

/// Holds a folder until it goes. Where held() is false another process holds it, or there is no folder. Network file
/// systems tell it to processes of the same machine alone.
class FolderLock {
 public:
  enum class Hold { Alone, WithOthers };  // WithOthers: beside those that hold it WithOthers, too, and nobody else

  explicit FolderLock(const std::filesystem::path& folder, Hold hold = Hold::Alone);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  bool held() const { return file_ >= 0; }

 private:
  int file_;
};

}  // namespace wan
