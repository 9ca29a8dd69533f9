#include "models/files/source_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "models/files/error.h"

namespace wan {
namespace {

/// Between two looks at `stop`.
constexpr uint64_t kStep = 4 << 20;

FileState as_state(const struct stat& status) {
  const auto nanoseconds = [](const timespec& time) { return int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec; };
  return {uint64_t(status.st_dev), uint64_t(status.st_ino), uint64_t(status.st_size), nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim)};
}

[[noreturn]] void refuse_to_open(const std::filesystem::path& path, int error) {
  if (error == ENOENT)
    throw ModelError(path.string(),
                     "must be there until it is loaded, is absent now; put it back, or download it again");
  throw ModelError(path.string(), std::string("must be a readable file: ") + std::strerror(error));
}

uint64_t rounded_up(uint64_t size) {
  return (size + SourceFile::kAlignment - 1) / SourceFile::kAlignment * SourceFile::kAlignment;
}

}  // namespace

FileState state_of(const std::filesystem::path& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) refuse_to_open(path, errno);
  return as_state(status);
}

SourceFile::SourceFile(std::filesystem::path path, uint64_t size, const std::optional<FileState>& planned,
                       Caching caching, ReadAt read)
    : path_(std::move(path)), caching_(caching), read_(std::move(read)) {
  buffered_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (buffered_ < 0) refuse_to_open(path_, errno);
  struct stat status;
  const bool known = fstat(buffered_, &status) == 0;
  if (known) state_ = as_state(status);
  const bool same = known && state_.size == size && (!planned || *planned == state_);
  if (!same) {
    close(buffered_);
    const std::string sizes = std::to_string(size) + " bytes, has " + std::to_string(known ? state_.size : 0);
    throw ModelError(path_.string(), "must stay as it was when its header was read: " +
                                         (known && state_.size != size ? "had " + sizes
                                                                       : std::string("was written or replaced since")) +
                                         "; start again once it is whole");
  }
  posix_fadvise(buffered_, 0, 0, POSIX_FADV_SEQUENTIAL);
  if (caching_ == Caching::Keep || size == 0) return;
  direct_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  // Between the two the name may have become another file's.
  const bool direct = direct_ >= 0 && fstat(direct_, &status) == 0 && as_state(status) == state_;
  reads_direct_ = direct;
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, buffered_, 0);
  if (address != MAP_FAILED) mapped_ = address;
}

SourceFile::~SourceFile() {
  if (mapped_) munmap(mapped_, state_.size);
  if (direct_ >= 0) close(direct_);
  if (buffered_ >= 0) close(buffered_);
}

bool SourceFile::is_cached(uint64_t begin, uint64_t end) const {
  if (!mapped_) return false;
  const uint64_t page = uint64_t(sysconf(_SC_PAGESIZE)), first = begin / page * page;
  std::vector<unsigned char> pages((end - first + page - 1) / page);
  if (mincore(static_cast<char*>(mapped_) + first, end - first, pages.data()) != 0) return false;
  const auto there = std::count_if(pages.begin(), pages.end(), [](unsigned char state) { return state & 1; });
  return uint64_t(there) * 2 > pages.size();
}

void SourceFile::fail(uint64_t at, uint64_t wanted, uint64_t came, int error) const {
  const std::string what =
      "wanted " + std::to_string(wanted) + " bytes at byte " + std::to_string(at) + ", got " + std::to_string(came);
  if (error == 0)
    throw ModelError(path_.string(), "must stay as it is while it is loaded, became shorter: " + what +
                                         "; put it back, or download it again");
  throw ModelError(path_.string(), "cannot be read: " + what + " and the error " + std::strerror(error) +
                                       "; check the disk, or download the file again");
}

bool SourceFile::read(uint64_t begin, uint64_t end, char* to, ReadCounts& counts, const std::atomic<bool>& stop) {
  const bool was_cached = caching_ == Caching::Pass && is_cached(begin, end);
  bool direct = reads_direct_ && !was_cached;
  const uint64_t wanted = end - begin;
  uint64_t got = 0;
  bool through_cache = false;
  while (got < wanted) {
    if (stop) return false;
    // Past the page cache whole units alone are read; the last one ends with the file.
    const uint64_t left = direct ? rounded_up(wanted - got) : wanted - got;
    const ssize_t came = read_(direct ? direct_ : buffered_, to + got, std::min(left, kStep), off_t(begin + got));
    if (came < 0 && errno == EINTR) continue;
    if (came < 0 && direct && (errno == EINVAL || errno == EOPNOTSUPP)) {
      if (reads_direct_.exchange(false)) ++counts.refused;
      direct = false;
      continue;
    }
    if (came < 0) fail(begin, wanted, got, errno);
    if (came == 0) fail(begin, wanted, got, 0);
    const uint64_t useful = std::min(uint64_t(came), wanted - got);
    (direct ? counts.direct : counts.buffered) += useful;
    through_cache = through_cache || !direct;
    got += useful;
    if (got % kAlignment != 0) direct = false;  // a read that ended early: what follows is not aligned
  }
  if (caching_ == Caching::Pass && through_cache && !was_cached)
    posix_fadvise(buffered_, off_t(begin), off_t(wanted), POSIX_FADV_DONTNEED);
  return true;
}

void SourceFile::check_unchanged() const {
  struct stat status;
  if (fstat(buffered_, &status) == 0) {
    const FileState now = as_state(status);
    if (now.size == state_.size && now.modified == state_.modified) return;
  }
  throw ModelError(path_.string(),
                   "must stay as it is while it is loaded, was written to; start again once it is whole");
}

}  // namespace wan
