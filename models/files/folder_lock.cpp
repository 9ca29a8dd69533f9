#include "models/files/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace wan {

FolderLock::FolderLock(const std::filesystem::path& folder, Hold hold)
    : file_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (file_ < 0 || flock(file_, (hold == Hold::Alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return;
  close(file_);
  file_ = -1;
}

FolderLock::~FolderLock() {
  if (held()) close(file_);
}

}  // namespace wan
