// A file whose bytes are read in large pieces, past the page cache where that is faster.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

namespace wan {

/// What tells whether a file is still the one that was looked at before.
struct FileState {
  uint64_t device, inode, size;
  int64_t modified, changed;  // nanoseconds since 1970; `changed` cannot be set back
  bool operator==(const FileState&) const = default;
};

/// Follows links. Throws ModelError where the file is absent or cannot be looked at.
FileState state_of(const std::filesystem::path& path);

/// What becomes of the pages of a file that is read.
enum class Caching {
  Pass,  // it is not read again soon: past the page cache, but for what lies there already
  Keep,  // it is: through the page cache
  Lend,  // it is read again while this object lives: through the page cache, and out of it with the object, but for what lay
         // there before
};

/// How bytes came; added up by several threads.
struct ReadCounts {
  std::atomic<uint64_t> direct = 0;    // bytes past the page cache
  std::atomic<uint64_t> buffered = 0;  // bytes through it
  std::atomic<uint64_t> refused = 0;   // files that the file system does not read past it
};

/// pread, or what a test puts in its place.
using ReadAt = std::function<ssize_t(int file, void* to, size_t size, off_t at)>;

/// May be read by several threads.
class SourceFile {
 public:
  /// Memory, offsets and sizes of reading are multiples of this.
  static constexpr size_t kAlignment = 4096;

  /// Opens the file. `size`: what it had when its header was read. `planned`: all of its state then; where that is given,
  /// a file of the same size in its place is refused, too. Throws ModelError.
  SourceFile(std::filesystem::path path, uint64_t size, const std::optional<FileState>& planned, Caching caching,
             ReadAt read);
  ~SourceFile();
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;

  /// Reads [begin, end) to `to`. `begin` and `to` are multiples of kAlignment, and `to` has room for as many bytes rounded
  /// up to one. Returns false, with a part of them read, once `stop` is true. Throws ModelError that names offset, bytes
  /// wanted and bytes that came, where the disk fails or the file became shorter.
  bool read(uint64_t begin, uint64_t end, char* to, ReadCounts& counts, const std::atomic<bool>& stop);
  /// Throws ModelError where the file was written to, or cut, since it was opened.
  void check_unchanged() const;
  /// When it was opened.
  const FileState& state() const { return state_; }

 private:
  void look_into_cache();
  void leave_cache();
  bool was_cached(uint64_t begin, uint64_t end) const;
  [[noreturn]] void fail(uint64_t at, uint64_t wanted, uint64_t came, int error) const;

  std::filesystem::path path_;
  Caching caching_;
  ReadAt read_;
  FileState state_;
  int buffered_ = -1, direct_ = -1;
  std::atomic<bool> reads_direct_ = false, filled_cache_ = false;
  std::vector<bool> cached_;  // by units of the file: in the page cache when it was opened
};

}  // namespace wan
