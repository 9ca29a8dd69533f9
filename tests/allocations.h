// What the operations of a test allocate on the CPU.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace wan {

/// Counts the memory of tensors that this thread, and its loops in several threads, allocate from construction on. Mapped
/// files do not count.
class Allocations {
 public:
  Allocations() : seen_(std::make_shared<Seen>()), guard_(c10::DebugInfoKind::PROFILER_STATE, seen_) {}

  /// The most that was held at once, in bytes.
  int64_t peak() const { return seen_->peak; }
  /// How many were of exactly so many bytes.
  int64_t count(int64_t bytes) const { return std::count(seen_->sizes.begin(), seen_->sizes.end(), bytes); }

 private:
  struct Seen : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
      const std::lock_guard lock(mutex);
      held += bytes;  // negative where it is freed
      peak = std::max(peak, held);
      if (bytes > 0) sizes.push_back(bytes);
    }
    bool memoryProfilingEnabled() const override { return true; }

    std::mutex mutex;
    int64_t held = 0, peak = 0;
    std::vector<int64_t> sizes;
  };

  std::shared_ptr<Seen> seen_;
  c10::DebugInfoGuard guard_;
};

}  // namespace wan
