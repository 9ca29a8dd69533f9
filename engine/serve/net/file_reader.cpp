#include "engine/serve/net/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace wan::serve {

FileReader::~FileReader() {
  if (file_ >= 0) ::close(file_);
}

void FileReader::open() {
  // O_NONBLOCK: a pipe would wait for its writer. It changes nothing for files.
  file_ = ::open(body_.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info {};
  if (file_ < 0 || fstat(file_, &info) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot read " + body_.path.string());
  }
  if (!S_ISREG(info.st_mode)) throw std::runtime_error(body_.path.string() + " is no file");
  if (body_.begin > body_.end || static_cast<uint64_t>(info.st_size) < body_.end) {
    throw std::runtime_error(body_.path.string() + " has " + std::to_string(info.st_size) + " bytes, byte " +
                             std::to_string(body_.end) + " was to be sent");
  }
}

std::string_view FileReader::read(std::span<char> memory) {
  for (size_t done = 0; done < memory.size();) {
    const ssize_t size = ::pread(file_, memory.data() + done, memory.size() - done, static_cast<off_t>(body_.begin));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw std::system_error(errno, std::generic_category(), "cannot read " + body_.path.string());
    if (size == 0) throw std::runtime_error(body_.path.string() + " became shorter");
    done += static_cast<size_t>(size);
    body_.begin += static_cast<uint64_t>(size);
  }
  return {memory.data(), memory.size()};
}

}  // namespace wan::serve
