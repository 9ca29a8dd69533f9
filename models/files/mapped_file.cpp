#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "models/files/bus_error.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/files/mapped_file.h"

namespace wan {

namespace {

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

/// Why a file cannot be opened, and what may have become of it.
[[noreturn]] void refuse_to_open(const std::filesystem::path& path, int error) {
  std::error_code ignored;
  if (error == ENOENT && std::filesystem::is_symlink(path, ignored))
    throw ModelError(path.string(), "is a link to a file that is not there; download it again");
  const std::string unfinished = error == ENOENT ? unfinished_download(path) : "";
  if (error == ENOENT)
    throw ModelError(path.string(), "is absent; " + (unfinished.empty() ? "download it, or name another place"
                                                                        : "its download is unfinished: " + unfinished));
  const std::string why = std::string("must be a readable file: ") + std::strerror(error);
  if (error == EACCES || error == EPERM)
    throw ModelError(path.string(), why + "; give yourself the right to read it, and to enter its folder (chmod u+rX)");
  throw ModelError(path.string(), why);
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path, const char* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size) {
  if (size_ > 0) watched_ = watch_range(data_, size_, shown_name(path_.string(), true));
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: a named pipe answers at once, so that it can be refused.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) refuse_to_open(path, errno);
  struct stat status;
  if (fstat(file.number, &status) != 0)
    throw ModelError(path.string(), std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw ModelError(path.string(), "must be a file, is a folder or a device; name a file");
  const auto size = static_cast<size_t>(status.st_size);
  const char* data = "";  // an empty file cannot be mapped
  if (size > 0) {
    void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number, 0);
    if (address == MAP_FAILED)
      throw ModelError(path.string(), std::string("cannot be mapped: ") + std::strerror(errno));
    // Weights are read front to back, and more of them than fit: read far ahead, drop early. A hint; failure changes
    // nothing.
    madvise(address, size, MADV_SEQUENTIAL);
    data = static_cast<const char*>(address);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size));
}

MappedFile::~MappedFile() {
  unwatch_range(watched_);
  if (size_ > 0) munmap(const_cast<char*>(data_), size_);
}

}  // namespace wan
