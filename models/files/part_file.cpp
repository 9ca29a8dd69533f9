#include "models/files/part_file.h"

#include <fcntl.h>
#include <sys/file.h>
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
  throw std::runtime_error("[" + shown_name(path) + "] cannot be written: " + std::generic_category().message(error));
}

// Without this a power cut can leave the new name with none of the bytes, or the bytes without the name.
void flush_to_disk(const std::string& path, int flags) {
  int file = open(path.c_str(), flags | O_CLOEXEC);
  if (file < 0) fail(path, errno);
  int failed = fsync(file) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;  // EINVAL: not a kind that syncs
  close(file);
  if (failed) fail(path, failed);
}

}  // namespace

PartFile::PartFile(std::string path) : path_(std::move(path)), part_(path_ + ".part") {
  claim();
  // Two runs that make the same file: the later one takes a name of its own, and the last to finish wins.
  if (flock(claim_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(claim_);
    part_ = path_ + "." + std::to_string(getpid()) + ".part";
    claim();
  }
}

PartFile::~PartFile() {
  if (!committed_) unlink(part_.c_str());
  close(claim_);
}

void PartFile::claim() {
  claim_ = open(part_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (claim_ < 0) fail(path_, errno);
}

void PartFile::commit() {
  flush_to_disk(part_, O_WRONLY);
  if (std::rename(part_.c_str(), path_.c_str()) != 0) fail(path_, errno);
  committed_ = true;
  std::string folder = std::filesystem::path(path_).parent_path().string();
  flush_to_disk(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY);
}

}  // namespace wan
