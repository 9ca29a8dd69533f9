#include "models/files/read_ahead.h"

#include <unistd.h>

#include <algorithm>
#include <exception>

namespace wan {
namespace {

struct Stopped {};

}  // namespace

ReadAhead::ReadAhead(std::vector<RingFile> files, uint64_t limit, std::function<void()> before) noexcept {
  try {
    thread_ = std::thread([this, files = std::move(files), limit, before = std::move(before)] {
      try {
        if (before) before();
        run(files, limit);
      } catch (const Stopped&) {
      } catch (const std::exception&) {  // the reader who needs the file meets the same
      }
    });
  } catch (const std::exception&) {  // no thread: nothing is read ahead
  }
}

ReadAhead::~ReadAhead() {
  stop();
}

void ReadAhead::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void ReadAhead::run(const std::vector<RingFile>& files, uint64_t limit) {
  std::vector<RingFile> open;
  std::vector<FileRange> ranges;
  for (const RingFile& file : files) {
    const uint64_t bytes = std::min(file.size, limit);
    if (bytes == 0 || stop_) break;
    limit -= bytes;
    open_.push_back(std::make_shared<SourceFile>(file.path, file.size, file.planned, Caching::Lend, pread));
    open.push_back(file);
    open.back().open = open_.back();
    ranges.push_back({open.size() - 1, 0, bytes});
  }
  RingOptions options;
  options.readers = 2;  // the disk has others to serve
  options.buffers = 3;
  options.buffer_bytes = 4 << 20;
  options.check = [this] {
    if (stop_) throw Stopped();
  };
  ReadRing ring(open, ranges, options);
  while (const std::optional<RingPiece> piece = ring.next()) bytes_ += piece->size;
}

}  // namespace wan
