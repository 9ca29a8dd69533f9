// How time is taken: several ways to do one thing, in turns, so that a clock that drifts drifts for all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace wan::bench {

/// Milliseconds that the work started by the argument takes: events on a GPU, a clock on the CPU, a script in a test.
using Timer = std::function<double(const std::function<void()>&)>;
/// Starts the work once, on the input set of this number.
using Launch = std::function<void(size_t set)>;

struct Effort {
  int warmups = 3;
  /// A sample is so many launches, or as many as fill this time where they are long.
  int launches = 20;
  double sample_milliseconds = 500;
  int samples = 9;
  /// Samples of one contestant stop here, but not before the third.
  double contestant_milliseconds = 5000;
};

/// Samples of each contestant, in milliseconds per launch: A, B, C, A, B, C. Launch number n uses input set n % sets.
/// Warm-ups end early once one has taken longer than a sample should.
std::vector<std::vector<double>> measure_in_turns(const std::vector<Launch>& contestants, size_t sets,
                                                  const Timer& timer, const Effort& effort);

/// The clock on the wall, for work that is done when it returns.
double wall_milliseconds(const std::function<void()>& run);

/// Time that a whole run may take.
class Budget {
 public:
  using Clock = std::function<double()>;
  /// `clock` gives seconds; the steady clock where it is empty.
  explicit Budget(double seconds, Clock clock = {});
  bool spent() const { return left() <= 0; }
  double left() const;

 private:
  Clock clock_;
  double end_;
};

}  // namespace wan::bench
