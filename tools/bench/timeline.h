// A time line of what runs: the ranges of the engine (kernels/op/range.h) and ATen's operations between them, with the
// device's times.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/op/range.h"

namespace wan::bench {

/// Moments in the order of the work that was started, as the device comes to them.
class Marks {
 public:
  virtual ~Marks() = default;
  /// A moment behind all that was started so far; its number.
  virtual size_t mark() = 0;
  /// Milliseconds of each moment after the first one. Waits for the device.
  virtual std::vector<double> milliseconds() = 0;
};
/// Of a clock that gives seconds; the steady clock where it is empty: for work that is done when it returns.
std::unique_ptr<Marks> clock_marks(std::function<double()> clock = {});

/// One range, or one of ATen's operations outside of every operation of ours ("aten::add").
struct TimedRange {
  kernels::RangeKind kind;
  std::string name;
  int64_t number = -1;
  kernels::RangeWork work;
  bool ours = true;
  int depth = 0;              // of ranges around it
  int parent = -1;            // the one around it, an index; -1: none
  double begin = 0, end = 0;  // milliseconds
  double own = 0;             // without the ranges inside

  double length() const { return end - begin; }
};

/// Runs `work` and returns its ranges in the order in which they began; the first one is a phase `name` of all of it.
/// What other threads do belongs to the range that waits for it.
std::vector<TimedRange> time_line(Marks& marks, const char* name, const std::function<void()>& work);

/// The ranges for chrome://tracing and Perfetto: one row of the picture for each depth.
std::string chrome_trace(const std::vector<TimedRange>& ranges, const std::string& title);

}  // namespace wan::bench
