// Clocks of the machine: one that somebody may set, and one that nobody sets.
#pragma once

#include <cstdint>
#include <functional>

namespace wan::serve {

/// Two clocks of the machine, in milliseconds.
struct Clocks {
  std::function<int64_t()> wall;  // since 1970; may be set
  std::function<int64_t()> boot;  // goes on evenly, also while the machine sleeps
};
Clocks clocks_of_machine();

/// Milliseconds since 1970 that go on evenly, whatever happens to the machine's clock, which they begin with.
class EvenClock {
 public:
  /// Begins no earlier than `least`, the last time that was read of it before: the machine's clock may have been set back
  /// meanwhile. Where it was set forward, that counts as time that has passed.
  EvenClock(Clocks clocks, int64_t least);
  int64_t now() const;

 private:
  Clocks clocks_;
  int64_t ahead_ = 0;  // of clocks_.boot
};

}  // namespace wan::serve
