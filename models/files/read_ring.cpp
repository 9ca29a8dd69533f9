#include "models/files/read_ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace wan {
namespace {

/// A hole between two ranges that is read along with them.
constexpr uint64_t kGap = 64 << 10;
/// No buffer.
constexpr size_t kNone = size_t(-1);

/// A part of a range in a block.
struct Slice {
  size_t range;
  uint64_t at, offset, size;  // at: from the range's beginning; offset: in the file
};

/// What is read at once, into one buffer.
struct Block {
  size_t file;
  uint64_t begin, end;  // in the file
  std::vector<Slice> slices;
};

uint64_t aligned_down(uint64_t offset) {
  return offset / SourceFile::kAlignment * SourceFile::kAlignment;
}

std::vector<Block> blocks_of(const std::vector<FileRange>& ranges, uint64_t buffer) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < ranges.size(); ++i) {
    const FileRange& range = ranges[i];
    for (uint64_t at = 0; at < range.size;) {
      const uint64_t offset = range.offset + at, left = range.size - at;
      const bool follows = !blocks.empty() && blocks.back().file == range.file && offset >= blocks.back().end &&
                           offset - blocks.back().end <= kGap;
      const uint64_t begin = follows ? blocks.back().begin : aligned_down(offset);
      const uint64_t room = begin + buffer > offset ? begin + buffer - offset : 0;
      const uint64_t size = room >= left ? left : room / range.grain * range.grain;
      if (size == 0) {  // does not fit behind the others: a block of its own
        blocks.push_back({range.file, aligned_down(offset), aligned_down(offset), {}});
        blocks.back().end = offset;
        continue;
      }
      if (!follows) blocks.push_back({range.file, begin, offset, {}});
      blocks.back().slices.push_back({i, at, offset, size});
      blocks.back().end = offset + size;
      at += size;
    }
  }
  return blocks;
}

void check(const std::vector<RingFile>& files, const std::vector<FileRange>& ranges, const RingOptions& options) {
  constexpr size_t kUnit = SourceFile::kAlignment;
  if (options.readers < 1 || options.buffers < 1)
    throw std::invalid_argument("[read ring] must have readers and buffers, has " + std::to_string(options.readers) +
                                " and " + std::to_string(options.buffers));
  if (options.buffer_bytes < 2 * kUnit || options.buffer_bytes % kUnit != 0)
    throw std::invalid_argument("[read ring] a buffer must be a multiple of 4096 bytes and at least two, is " +
                                std::to_string(options.buffer_bytes));
  for (const FileRange& range : ranges) {
    if (range.file >= files.size())
      throw std::invalid_argument("[read ring] a range must lie in one of " + std::to_string(files.size()) +
                                  " files, lies in number " + std::to_string(range.file));
    if (range.grain < 1 || range.grain > options.buffer_bytes / 2)
      throw std::invalid_argument("[read ring] a grain must be from 1 byte to half a buffer of " +
                                  std::to_string(options.buffer_bytes) + ", is " + std::to_string(range.grain));
  }
}

}  // namespace

std::shared_ptr<char> ordinary_memory(size_t bytes) {
  // In large pages one request to the disk is of megabytes; in small ones it is cut where a device takes no more of them.
  constexpr size_t kLargePage = 2 << 20;
  const size_t unit = bytes >= kLargePage ? kLargePage : SourceFile::kAlignment;
  const size_t size = (bytes + unit - 1) / unit * unit;
  void* memory = std::aligned_alloc(unit, size);
  if (!memory) throw std::bad_alloc();
  if (unit == kLargePage) madvise(memory, size, MADV_HUGEPAGE);  // a hint
  return {static_cast<char*>(memory), [](char* address) { std::free(address); }};
}

struct RingMemory::Spare {
  std::mutex mutex;
  size_t bytes = 0;  // of each; 0 before the first is taken
  std::vector<std::shared_ptr<char>> buffers;
};

RingMemory::RingMemory(TakeMemory take)
    : take_(take ? std::move(take) : TakeMemory(ordinary_memory)), spare_(std::make_shared<Spare>()) {}

std::shared_ptr<char> RingMemory::take(size_t bytes) {
  std::shared_ptr<char> memory;
  {
    const std::lock_guard lock(spare_->mutex);
    if (spare_->bytes != 0 && spare_->bytes != bytes)
      throw std::invalid_argument("[ring memory] has buffers of " + std::to_string(spare_->bytes) +
                                  " bytes, and one of " + std::to_string(bytes) +
                                  " is asked for; take another RingMemory for it");
    spare_->bytes = bytes;
    if (!spare_->buffers.empty()) {
      memory = std::move(spare_->buffers.back());
      spare_->buffers.pop_back();
    }
  }
  if (!memory) memory = take_(bytes);
  if (!memory) return nullptr;
  char* const data = memory.get();
  return {data, [spare = std::weak_ptr<Spare>(spare_), memory = std::move(memory)](char*) mutable {
            if (const auto there = spare.lock()) {
              const std::lock_guard lock(there->mutex);
              try {
                there->buffers.push_back(memory);
              } catch (const std::bad_alloc&) {  // it is freed, and the next ring takes another one
              }
            }
            memory.reset();
          }};
}

struct ReadRing::State {
  std::vector<std::shared_ptr<SourceFile>> files;
  std::vector<Block> blocks;
  std::vector<std::shared_ptr<char>> buffers;
  std::function<void()> check;
  ReadCounts counts;
  int refused = 0;

  std::mutex mutex;
  std::condition_variable changed;
  // Their memory is taken when the ring is made: neither a reader nor a lease's end may fail for lack of it.
  std::vector<size_t> free;    // buffers that nobody uses
  std::vector<size_t> filled;  // by blocks: the buffer that has it, or kNone
  size_t waiting = 0;          // blocks that a buffer has
  size_t begun = 0;            // blocks that a reader took
  std::exception_ptr error;    // of the first block that failed
  size_t failed = 0;
  std::atomic<bool> stop = false;

  size_t block = 0, slice = 0;  // what next() gives next
  std::shared_ptr<const void> lease;
  const char* data = nullptr;
  std::vector<std::jthread> readers;

  void read_blocks() {
    std::unique_lock lock(mutex);
    for (;;) {
      // A block is begun with a buffer in hand, in order: the one that next() waits for never lacks one.
      changed.wait(lock, [&] { return stop || begun == blocks.size() || !free.empty(); });
      if (stop || begun == blocks.size()) return;
      const size_t number = begun++, buffer = free.back();
      free.pop_back();
      lock.unlock();
      const Block& block = blocks[number];
      std::exception_ptr wrong;
      bool whole = false;
      try {
        whole = files[block.file]->read(block.begin, block.end, buffers[buffer].get(), counts, stop);
      } catch (...) {
        wrong = std::current_exception();
      }
      lock.lock();
      if (whole)
        filled[number] = buffer, ++waiting;
      else
        free.push_back(buffer);
      if (wrong && (!error || number < failed)) {
        error = wrong;
        failed = number;
        begun = blocks.size();  // nothing more is begun
      }
      changed.notify_all();
    }
  }

  /// Waits for a block and returns its buffer.
  size_t wait_for(size_t number) {
    if (readers.empty()) read_blocks();
    std::unique_lock lock(mutex);
    const auto ready = [&] { return error || filled[number] != kNone; };
    while (!ready()) {
      if (begun <= number && free.empty() && waiting == 0)
        throw std::logic_error("[read ring] all " + std::to_string(buffers.size()) +
                               " buffers are held while another piece is asked for");
      changed.wait_for(lock, std::chrono::milliseconds(20), ready);
      if (!check || ready()) continue;
      lock.unlock();
      check();
      lock.lock();
    }
    if (error) std::rethrow_exception(error);
    --waiting;
    return std::exchange(filled[number], kNone);
  }

  /// Waits for them.
  void stop_readers() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    readers.clear();  // joins
  }

  void give_back(size_t buffer) {
    {
      const std::lock_guard lock(mutex);
      free.push_back(buffer);
    }
    changed.notify_all();
  }
};

ReadRing::ReadRing(const std::vector<RingFile>& files, const std::vector<FileRange>& ranges, const RingOptions& options)
    : state_(std::make_shared<State>()) {
  wan::check(files, ranges, options);
  const ReadAt read = options.read ? options.read : ReadAt(pread);
  for (const RingFile& file : files)
    state_->files.push_back(file.open ? file.open
                                      : std::make_shared<SourceFile>(file.path, file.size, file.planned,
                                                                     options.caching, read));
  state_->blocks = blocks_of(ranges, options.buffer_bytes);
  state_->check = options.check;
  state_->filled.assign(state_->blocks.size(), kNone);
  const size_t buffers = std::min(size_t(options.buffers), state_->blocks.size());
  state_->free.reserve(buffers);
  for (size_t i = 0; i < buffers; ++i) {
    std::shared_ptr<char> memory = options.take_memory ? options.take_memory(options.buffer_bytes) : nullptr;
    if (!memory && options.take_memory) ++state_->refused;
    state_->buffers.push_back(memory ? std::move(memory) : ordinary_memory(options.buffer_bytes));
    state_->free.push_back(i);
  }
  // One block is read by next() itself: a thread takes longer to start and to answer than a small tensor to read.
  if (state_->blocks.size() == 1 && !options.check) return;
  try {
    const size_t readers = std::min(size_t(options.readers), state_->blocks.size());
    state_->readers.reserve(readers);
    for (size_t i = 0; i < readers; ++i)
      state_->readers.emplace_back([state = state_.get()] { state->read_blocks(); });
  } catch (const std::system_error&) {  // fewer do it, too
    if (state_->readers.empty()) throw;
  } catch (...) {
    state_->stop_readers();
    throw;
  }
}

ReadRing::~ReadRing() {
  state_->stop_readers();
  state_->lease.reset();
}

std::optional<RingPiece> ReadRing::next() {
  State& state = *state_;
  if (state.check) state.check();
  while (state.block < state.blocks.size()) {
    const Block& block = state.blocks[state.block];
    if (state.slice == block.slices.size()) {  // the next block
      state.lease.reset();
      state.slice = 0;
      ++state.block;
      continue;
    }
    if (!state.lease) {
      const size_t buffer = state.wait_for(state.block);
      state.data = state.buffers[buffer].get();
      state.lease = {state.data, [shared = state_, buffer](const void*) { shared->give_back(buffer); }};
    }
    const Slice& slice = block.slices[state.slice++];
    const bool last = state.slice == block.slices.size();
    RingPiece piece{slice.range, slice.at, state.data + (slice.offset - block.begin), slice.size, state.lease};
    if (last) {  // the caller's copy is the last one
      state.lease.reset();
      state.slice = 0;
      ++state.block;
    }
    return piece;
  }
  for (const auto& file : state.files) file->check_unchanged();
  return std::nullopt;
}

const ReadCounts& ReadRing::counts() const {
  return state_->counts;
}

int ReadRing::refused_buffers() const {
  return state_->refused;
}

}  // namespace wan
