// How much host memory images of streamed blocks may take.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace wan {

/// How much host memory the images of blocks may take that are no views of a file. Shared by networks; thread-safe.
class HostRoom {
 public:
  /// `pinnable`: how much of it may be pinned.
  explicit HostRoom(uint64_t limit, uint64_t pinnable = UINT64_MAX) : limit_(limit), pinnable_(pinnable) {}
  /// From now on; what is taken stays.
  void set_limits(uint64_t limit, uint64_t pinnable);
  /// False, and nothing is taken, where it would be too much.
  bool take(uint64_t bytes) { return take(used_, limit_, bytes); }
  void give_back(uint64_t bytes) { used_ -= bytes; }
  uint64_t used() const { return used_; }
  uint64_t free() const { return limit_ - std::min<uint64_t>(used_, limit_); }
  /// The same of memory that was taken before and is to be pinned.
  bool take_pinned(uint64_t bytes) { return take(pinned_, pinnable_, bytes); }
  void give_back_pinned(uint64_t bytes) { pinned_ -= bytes; }
  uint64_t pinned() const { return pinned_; }

 private:
  static bool take(std::atomic<uint64_t>& used, uint64_t limit, uint64_t bytes);

  std::atomic<uint64_t> limit_, pinnable_;
  std::atomic<uint64_t> used_ = 0, pinned_ = 0;
};

}  // namespace wan
