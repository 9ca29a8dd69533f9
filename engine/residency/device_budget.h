// How much of a device's memory a job may take: counted, so that a limit below what the device has is kept, and so that a
// CPU can stand for a card.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace wan {

/// What a job may have of a device now, in bytes, with what it has there already.
struct DeviceRoom {
  uint64_t usable = 0;  // with the margin left to other programs, and no more than the user allows
  uint64_t all = 0;     // without the margin, under the same limit
};

/// Counts what is taken. Weights are counted to the byte, activations as they are forecast. Thread-safe.
class DeviceBudget {
 public:
  /// Asked before each taking, also of no bytes (touch); may throw c10::OutOfMemoryError as a device that is full would.
  /// For tests.
  using Hook = std::function<void(const std::string& what)>;

  /// Asks the device again. `used`: bytes that are taken of the budget.
  using Look = std::function<DeviceRoom(uint64_t used)>;

  /// `field`: of the request that the limit came from, for messages: "device_memory", or "memory" for what is free.
  /// `look`: of a device of which other programs may take memory; empty: the limit stays.
  explicit DeviceBudget(uint64_t limit, std::string field = "device_memory", Hook hook = {}, Look look = {})
      : planned_(limit), limit_(limit), field_(std::move(field)), hook_(std::move(hook)), look_(std::move(look)) {}
  DeviceBudget(const DeviceBudget&) = delete;

  /// What was taken; goes back with it. The budget must outlive it.
  class Lease {
   public:
    Lease() = default;
    Lease(DeviceBudget* budget, uint64_t bytes) : budget_(budget), bytes_(bytes) {}
    Lease(Lease&& other) noexcept { swap(other); }
    Lease& operator=(Lease&& other) noexcept {
      Lease(std::move(other)).swap(*this);
      return *this;
    }
    ~Lease() {
      if (budget_) budget_->used_ -= bytes_;
    }
    uint64_t bytes() const { return bytes_; }

   private:
    void swap(Lease& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
    }
    DeviceBudget* budget_ = nullptr;
    uint64_t bytes_ = 0;
  };

  /// Throws c10::OutOfMemoryError with both numbers where it would be more than the limit. `what`: "high-noise expert".
  Lease take(uint64_t bytes, const std::string& what);
  /// Takes nothing, but fails where the hook does.
  void touch(const std::string& what) const;
  /// Sets the limit to what may be had now. It stays while half of the margin is left beside it: libraries that a GPU
  /// loads while it works take some of it. Where there is less than `least`, without which the next stage cannot run, the
  /// margin gives the rest as far as it goes. Whether the limit is another one than before.
  bool look_again(uint64_t least);

  uint64_t limit() const { return limit_; }
  /// The limit that it began with, which the plan of the job is for.
  uint64_t planned() const { return planned_; }
  uint64_t used() const { return used_; }
  /// 0 where more is used than the limit has become.
  uint64_t free() const {
    const uint64_t limit = limit_, used = used_;
    return limit - std::min(limit, used);
  }
  /// The most that was used at once.
  uint64_t peak() const { return peak_; }
  /// The most that was used at once after something was taken, since the last call.
  uint64_t peak_since_asked() { return recent_.exchange(0); }
  /// "memory" where less may be had now than was planned, whatever the limit came from.
  std::string field() const { return limit_ < planned_ ? "memory" : field_; }

 private:
  const uint64_t planned_;
  std::atomic<uint64_t> limit_;
  const std::string field_;
  const Hook hook_;
  const Look look_;
  std::atomic<uint64_t> used_ = 0, peak_ = 0, recent_ = 0;
};

}  // namespace wan
