// Ranges of files, read by several threads into a small ring of large buffers and handed out in their order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "models/files/source_file.h"

namespace wan {

/// A file that ranges lie in.
struct RingFile {
  std::filesystem::path path;
  uint64_t size;                          // bytes, when its header was read
  std::optional<FileState> planned = {};  // all of its state then
  /// The file where it is open already: then nothing is opened, and RingOptions::caching and `read` are its own.
  std::shared_ptr<SourceFile> open = {};
};

/// Bytes that are wanted.
struct FileRange {
  size_t file;  // index of its RingFile
  uint64_t offset, size;
  uint64_t grain =
      1;  // pieces are multiples of so many bytes from `offset` on; at most half a buffer. The last one: what is left
};

/// A part of a range, in memory. Several may lie in one buffer, which is read into again once the last copy of each of
/// their `lease`s is gone.
struct RingPiece {
  size_t range;      // index of the range
  uint64_t at;       // of the first byte, from the range's beginning
  const char* data;  // not aligned where the range is not
  uint64_t size;
  std::shared_ptr<const void> lease;  // may outlive the ring
};

/// Memory of that many bytes at a multiple of SourceFile::kAlignment; null where it is refused.
using TakeMemory = std::function<std::shared_ptr<char>(size_t bytes)>;

struct RingOptions {
  int readers = 4;
  int buffers = 6;
  size_t buffer_bytes = 16 << 20;  // a multiple of SourceFile::kAlignment, at least two
  Caching caching = Caching::Pass;
  /// Pinned memory, say; ordinary memory is taken where it is refused, or where there is none of this.
  TakeMemory take_memory = {};
  /// Asked while next() waits; it may throw to stop, and that passes through next().
  std::function<void()> check = {};
  ReadAt read = {};  // pread where empty
};

/// Memory that is no device's. Throws std::bad_alloc.
std::shared_ptr<char> ordinary_memory(size_t bytes);

/// Memory for one ring after another: what one has given back is what the next one gets, so that it is taken (and pinned)
/// once. Thread-safe; what was handed out may outlive it.
class RingMemory {
 public:
  /// `take`: as RingOptions::take_memory, ordinary_memory where it is empty.
  explicit RingMemory(TakeMemory take = {});
  /// Null where it is refused. Of one size in its life.
  std::shared_ptr<char> take(size_t bytes);

 private:
  struct Spare;
  TakeMemory take_;
  std::shared_ptr<Spare> spare_;
};

/// Reading begins with the object (with next() where one buffer holds all and nothing is to be asked) and ends with it: what is read at that moment is waited for, at most 4 MB a reader.
class ReadRing {
 public:
  /// Opens every file. Ranges that lie beside each other in one file are read together, whatever their size, so order them
  /// as they lie. Throws ModelError for a file that is absent or is not what it was, std::invalid_argument for options and
  /// grains that cannot be.
  ReadRing(const std::vector<RingFile>& files, const std::vector<FileRange>& ranges, const RingOptions& options);
  ~ReadRing();
  ReadRing(const ReadRing&) = delete;
  ReadRing& operator=(const ReadRing&) = delete;

  /// The next piece, in the order of the ranges and in each from its beginning; nothing after the last. An empty range has
  /// none. For one thread at a time. Throws ModelError where a file cannot be read or changed meanwhile, what
  /// RingOptions::check throws, and std::logic_error where the leases that are held leave no buffer to read into.
  std::optional<RingPiece> next();

  const ReadCounts& counts() const;
  /// Buffers in ordinary memory because RingOptions::take_memory refused.
  int refused_buffers() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // leases share it
};

}  // namespace wan
