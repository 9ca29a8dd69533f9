#include "models/files/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "models/files/error.h"

namespace wan {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw std::runtime_error("[" + shown_name(path) + "] cannot be written: " + std::generic_category().message(error) +
                           (error == ENOSPC ? "; make room, then the same command goes on" : ""));
}

/// A file of this user, not a link's target, a pipe or a device.
bool is_own_file(int file) {
  struct stat status;
  return fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
         status.st_nlink == 1;  // another name of it would lose its content, too
}

/// Whether the name still leads to the open file.
bool is_named(int file, const std::string& name) {
  struct stat opened, there;
  return fstat(file, &opened) == 0 && lstat(name.c_str(), &there) == 0 && opened.st_dev == there.st_dev &&
         opened.st_ino == there.st_ino;
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), part_(path_ + ".part") {
  if (claim()) return;
  part_ = path_ + "." + std::to_string(getpid()) + ".part";
  if (!claim()) fail(path_, EEXIST);
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  if (!committed_) unlink(part_.c_str());
  close(file_);
}

/// Opens the part into file_, or makes it. False where something is there that is no file to write.
bool AtomicFile::open_part() {
  // O_NONBLOCK: a named pipe answers at once instead of waiting for a reader.
  file_ = open(part_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (file_ >= 0) return true;
  const int error = errno;
  const bool taken = error == ELOOP || error == ENXIO || error == EACCES || error == EISDIR;
  if (!(taken && std::filesystem::exists(std::filesystem::symlink_status(part_)))) fail(path_, error);
  return false;
}

/// False where the name is another run's, or that of something else.
bool AtomicFile::claim() {
  while (open_part()) {
    const bool locked = is_own_file(file_) && flock(file_, LOCK_EX | LOCK_NB) == 0;
    // The run that had the lock may have renamed or removed the file after it was opened here: then it is that run's
    // finished output, or has no name, and the part is to be opened anew.
    const bool named = locked && is_named(file_, part_);
    if (named && ftruncate(file_, 0) == 0) return true;
    const int error = errno;
    close(file_);
    file_ = -1;
    if (named) fail(path_, error);
    if (!locked) return false;
  }
  return false;
}

void AtomicFile::write(const void* data, size_t size) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(file_, from, size);
    if (written < 0 && errno != EINTR) fail(path_, errno);
    if (written > 0) from += written, size -= size_t(written);
  }
}

void AtomicFile::commit() {
  // Without this a power cut can leave the new name with none of the bytes. EINVAL: not a kind of file that syncs.
  if (fsync(file_) != 0 && errno != EINVAL && errno != EROFS) fail(path_, errno);
  replace();
  sync_folder(std::filesystem::path(path_).parent_path().string());
}

void AtomicFile::replace() {
  if (std::rename(part_.c_str(), path_.c_str()) != 0) fail(path_, errno);
  committed_ = true;
}

void sync_folder(const std::string& folder) {
  const int file = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  fsync(file);
  close(file);
}

}  // namespace wan
