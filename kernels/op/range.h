// Named stretches of work: what a profiler shows of a phase, a step, a block, an operation. NVTX sees them (Nsight
// Systems, `nsys profile wan-infer ...`), and whoever observes them in this process (wan-bench profile). They cost
// nanoseconds where nobody looks. No torch header here.
#pragma once

#include <cstdint>
#include <utility>

namespace wan::kernels {

enum class RangeKind { Phase, Step, Block, Operation };

/// What one operation does.
struct RangeWork {
  double flops = 0, bytes = 0;        // 0: not counted
  const char* ceiling = "";           // which rate of the device bounds it: bf16, fp16, fp32, int8, copy
  int64_t rows = 0, in = 0, out = 0;  // tell calls of one operation apart; 0: not told
};

/// Sees the ranges of the thread in which it observes; they are nested as calls are.
class RangeObserver {
 public:
  virtual ~RangeObserver() = default;
  /// `number` counts from 0; -1: there is none.
  virtual void begin(RangeKind kind, const char* name, int64_t number, const RangeWork& work) = 0;
  virtual void end() = 0;
};
/// From now on this one observes the calling thread, or nobody where it is null. Returns who did before. Must not be
/// called inside of a range.
RangeObserver* observe_ranges(RangeObserver* observer);

/// From its construction to the end of its scope. `name` outlives it.
class Range {
 public:
  Range(RangeKind kind, const char* name, int64_t number = -1) { begin(kind, name, number, {}); }
  /// An operation; work() -> RangeWork is asked only where somebody observes.
  template <typename Work>
  Range(const char* name, Work work) {
    begin(RangeKind::Operation, name, -1, is_observed() ? work() : RangeWork{});
  }
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  static bool is_observed();
  static void begin(RangeKind kind, const char* name, int64_t number, const RangeWork& work);
};

}  // namespace wan::kernels
