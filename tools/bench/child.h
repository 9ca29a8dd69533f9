// Other programs, and this one again: run, read and measured from outside.
#pragma once

#include <string>
#include <vector>

namespace wan::bench {

struct ChildResult {
  int status;          // exit code; 128 + signal where one ended it
  double seconds;      // from start to end, on the wall
  double cpu_seconds;  // user and system time of the process
  double peak_mb;      // its largest resident set
  std::string out;     // what it wrote to stdout; stderr is this process's
};

/// Runs a program (looked for in PATH) to its end; `quiet` throws its stderr away.
/// Throws std::runtime_error where it cannot be started.
ChildResult run_child(const std::vector<std::string>& command, bool quiet = false);

/// The largest resident set of a process in megabytes, as its address space counts it; 0 where it has none (any more).
double peak_resident_mb(const std::string& process = "self");

}  // namespace wan::bench
