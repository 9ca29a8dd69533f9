#include "tests/fuzz/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace wan::fuzz {

MemoryFile::MemoryFile(std::string_view bytes) : file_(memfd_create("fuzz", MFD_CLOEXEC)) {
  while (file_ >= 0 && !bytes.empty()) {
    const ssize_t written = write(file_, bytes.data(), bytes.size());
    if (written <= 0) break;
    bytes.remove_prefix(size_t(written));
  }
  if (file_ < 0 || !bytes.empty()) throw std::system_error(errno, std::generic_category(), "a file in memory");
}

MemoryFile::~MemoryFile() {
  close(file_);
}

std::filesystem::path MemoryFile::path() const {
  return "/proc/self/fd/" + std::to_string(file_);
}

void MemoryFile::put(const std::filesystem::path& at) const {
  std::filesystem::remove(at);
  std::filesystem::create_symlink(path(), at);
}

}  // namespace wan::fuzz
