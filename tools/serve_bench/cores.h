// Which core serves, and which one makes the load.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <string>

namespace wan::bench {

/// Two cores that this process may use; the same one twice where it has no other.
struct Cores {
  int server = 0, load = 0;
  bool is_shared() const { return server == load; }
  /// For people.
  std::string text() const;
};
Cores choose_cores();

/// While it lives, this thread and what it starts stay on one core. Throws std::runtime_error where the system refuses.
class OnCore {
 public:
  explicit OnCore(int core);
  ~OnCore();
  OnCore(const OnCore&) = delete;
  OnCore& operator=(const OnCore&) = delete;

 private:
  cpu_set_t before_;
};

/// Moves all threads of a process to a core, at this niceness. False where the system refuses.
bool move_process(pid_t process, int core, int niceness);

}  // namespace wan::bench
