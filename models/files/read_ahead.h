// Files that are needed soon, read into the page cache by a thread while something else computes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "models/files/read_ring.h"

namespace wan {

/// Changes no result: who reads the files later finds their bytes sooner. A file that cannot be read is left to that reader,
/// who says so.
class ReadAhead {
 public:
  /// Reads the files in their order, at most `limit` bytes of them together. `before` is called first, by the thread, and may
  /// wait for other work. Throws nothing.
  ReadAhead(std::vector<RingFile> files, uint64_t limit, std::function<void()> before = {}) noexcept;
  /// stop(); takes out of the page cache what was not there before.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;

  /// Returns once nothing is read any more: after 4 MB for each reader, and after `before`.
  void stop();
  /// Bytes that are there by now.
  uint64_t bytes() const { return bytes_; }

 private:
  void run(const std::vector<RingFile>& files, uint64_t limit);

  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> bytes_ = 0;
  std::vector<std::shared_ptr<SourceFile>> open_;  // by the thread while it runs
  std::thread thread_;
};

}  // namespace wan
