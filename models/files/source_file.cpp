#include "models/files/source_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "models/files/error.h"

namespace wan {
namespace {

/// Between two looks at `stop`.
constexpr uint64_t kStep = 4 << 20;
/// Of a file; whether its middle page is in memory stands for all of them.
constexpr uint64_t kUnit = 256 << 10;

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
  look_into_cache();
  if (caching_ == Caching::Lend) return;
  direct_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  // Between the two the name may have become another file's.
  reads_direct_ = direct_ >= 0 && fstat(direct_, &status) == 0 && as_state(status) == state_;
}

SourceFile::~SourceFile() {
  if (filled_cache_) leave_cache();
  if (direct_ >= 0) close(direct_);
  if (buffered_ >= 0) close(buffered_);
}

// Once, before anything is read: reading through the cache also brings what lies ahead into it. Of a file that the user
// neither owns nor may write to, the system tells nothing: mincore() then says of every page that it is there. Such a file
// is read as if nothing of it were.
void SourceFile::look_into_cache() {
  struct stat status {};
  const bool told = fstat(buffered_, &status) == 0 &&
                    (status.st_uid == geteuid() || faccessat(AT_FDCWD, path_.c_str(), W_OK, AT_EACCESS) == 0);
  if (!told) return;
  void* address = mmap(nullptr, state_.size, PROT_READ, MAP_SHARED, buffered_, 0);
  if (address == MAP_FAILED) return;
  const uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
  for (uint64_t begin = 0; begin < state_.size; begin += kUnit) {
    const uint64_t middle = begin + (std::min(begin + kUnit, state_.size) - begin) / 2;
    unsigned char there = 0;
    cached_.push_back(mincore(static_cast<char*>(address) + middle / page * page, 1, &there) == 0 && (there & 1));
  }
  munmap(address, state_.size);
}

// What was read ahead, and pages that lie across the ends of what was read.
void SourceFile::leave_cache() {
  for (size_t unit = 0; unit < cached_.size();) {
    size_t end = unit;
    while (end < cached_.size() && !cached_[end]) ++end;
    if (end > unit) posix_fadvise(buffered_, off_t(unit * kUnit), off_t((end - unit) * kUnit), POSIX_FADV_DONTNEED);
    unit = end + 1;
  }
}

bool SourceFile::was_cached(uint64_t begin, uint64_t end) const {
  uint64_t there = 0, units = 0;
  for (uint64_t unit = begin / kUnit; unit * kUnit < end && unit < cached_.size(); ++unit, ++units)
    there += cached_[unit];
  return there * 2 > units;
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
  const bool cached = was_cached(begin, end);
  bool direct = reads_direct_ && !cached;
  const uint64_t wanted = end - begin;
  uint64_t got = 0;
  bool through_cache = false;
  if (caching_ == Caching::Lend) filled_cache_ = true;
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
  if (caching_ == Caching::Pass && through_cache && !cached) {
    posix_fadvise(buffered_, off_t(begin), off_t(wanted), POSIX_FADV_DONTNEED);
    filled_cache_ = true;
  }
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
