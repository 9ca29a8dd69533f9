// How much memory tensors on the CPU take at most, while this lives.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace wan {

/// Stands in for the CPU's allocator and counts the bytes that are asked of it, of all threads. One at a time.
class CountedMemory : public c10::Allocator {
 public:
  CountedMemory() : base_(c10::GetAllocator(c10::kCPU)) { c10::SetAllocator(c10::kCPU, this, kPriority); }
  ~CountedMemory() override { c10::SetAllocator(c10::kCPU, base_, kPriority); }
  CountedMemory(const CountedMemory&) = delete;

  int64_t now() const { return state().now; }
  int64_t peak() const { return state().peak; }
  /// From here on: the peak is what is there now.
  void begin() { state().peak = state().now.load(); }

  /// The size stands in front of the bytes: a raw pointer to them must be its own context.
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::Device(c10::kCPU)};
    char* whole = static_cast<char*>(std::aligned_alloc(kHeader, (bytes + 2 * kHeader - 1) / kHeader * kHeader));
    if (!whole) throw std::bad_alloc();
    std::memcpy(whole, &bytes, sizeof bytes);
    const int64_t now = state().now += int64_t(bytes);
    int64_t most = state().peak;
    while (now > most && !state().peak.compare_exchange_weak(most, now)) {
    }
    return {whole + kHeader, whole + kHeader, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t count) const override { std::memcpy(to, from, count); }

 private:
  static constexpr uint8_t kPriority = 200;
  static constexpr size_t kHeader = 64;
  /// Tensors may outlive the counter, so that what they are taken off does, too.
  struct State {
    std::atomic<int64_t> now = 0, peak = 0;
  };
  static State& state() {
    static State all;
    return all;
  }
  static void release(void* data) {
    if (!data) return;
    char* whole = static_cast<char*>(data) - kHeader;
    size_t bytes;
    std::memcpy(&bytes, whole, sizeof bytes);
    state().now -= int64_t(bytes);
    std::free(whole);
  }

  c10::Allocator* base_;
};

}  // namespace wan
