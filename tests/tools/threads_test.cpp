#include "tools/cli/threads.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "engine/base/error.h"

namespace wan {
namespace {

/// Bytes of address space that this process has.
uint64_t address_space() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * uint64_t(sysconf(_SC_PAGESIZE));
}

/// What set_threads says in a process whose address space may grow by `room` bytes; empty where it is content.
std::string refusal_of(int64_t threads, uint64_t room) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {address_space() + room, RLIM_INFINITY};
    std::string said;
    try {
      if (setrlimit(RLIMIT_AS, &limit) != 0) said = "no limit";
      set_threads(threads);
    } catch (const InvalidRequest& invalid) {
      said = invalid.what();
    }
    if (write(ends[1], said.data(), said.size()) < 0) _exit(1);
    _exit(0);
  }
  close(ends[1]);
  char text[1000];
  const ssize_t size = read(ends[0], text, sizeof text);
  close(ends[0]);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return std::string(text, size_t(std::max<ssize_t>(size, 0)));
}

// A thread's stack takes 8 MiB of address space by default.
TEST(Threads, ThoseThatCannotBeMadeAreRefusedBeforeTheyAreNeeded) {
  rlimit stack;
  getrlimit(RLIMIT_STACK, &stack);
  if (stack.rlim_cur != 8 << 20) GTEST_SKIP() << "another size of stacks";
  const std::string refused = refusal_of(64, 100 << 20);
  EXPECT_TRUE(refused.starts_with("[threads] must be as many as can be made, got 64, and the system makes "))
      << refused;
  EXPECT_NE(refused.find("--threads "), std::string::npos) << refused;
  EXPECT_EQ(refusal_of(2, 100 << 20), "") << "those that there is room for are taken";
}

}  // namespace
}  // namespace wan
