// A folder that one process at a time works in.
#pragma once

#include <filesystem>

namespace wan {

/// Holds a folder until it goes. Where held() is false another process holds it, or there is no folder.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  bool held() const { return file_ >= 0; }

 private:
  int file_;
};

}  // namespace wan
