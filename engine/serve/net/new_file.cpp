#include "engine/serve/net/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace wan::serve {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw std::system_error(errno, std::generic_category(), std::string(what) + " " + path.string());
}

}  // namespace

void NewFile::create() {
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file_ < 0) fail("cannot create", path_);
}

void NewFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::write(file_, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) fail("cannot write", path_);
    bytes.remove_prefix(static_cast<size_t>(size));
  }
}

void NewFile::keep() {
  // Network file systems tell of a full disk here.
  if (::close(file_) != 0) {
    const int error = errno;
    file_ = -1;
    ::unlink(path_.c_str());
    errno = error;
    fail("cannot write", path_);
  }
  file_ = -1;
}

void NewFile::remove() noexcept {
  const int file = std::exchange(file_, -1);
  if (file < 0) return;
  ::unlink(path_.c_str());
  ::close(file);
}

}  // namespace wan::serve
