#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "models/files/error.h"
#include "models/files/mapped_file.h"

namespace wan {

namespace {

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: a named pipe answers at once, so that it can be refused.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) throw ModelError(path.string(), std::string("must be a readable file: ") + std::strerror(errno));
  struct stat status;
  if (fstat(file.number, &status) != 0)
    throw ModelError(path.string(), std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw ModelError(path.string(), "must be a file, is a folder or a device");
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
  if (size_ > 0) munmap(const_cast<char*>(data_), size_);
}

}  // namespace wan
