// What each kind of failure ends a program with.
#include "tools/cli/exit_code.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <stdio_ext.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "engine/base/error.h"
#include "engine/request/safety.h"
#include "models/files/error.h"

namespace wan {
namespace {

using Program = int (*)(const Command&);

int code_of(Program run, std::string& said) {
  const char* words[] = {"wan-infer", "t2v", "--prompt", "x", "--dry-run", nullptr};
  testing::internal::CaptureStderr();
  const int code = exit_code(5, const_cast<char**>(words), run);
  said = testing::internal::GetCapturedStderr();
  return code;
}

TEST(ExitCode, EachKindHasItsNumberAndItsLine) {
  struct Row {
    int code;
    const char* begin;
    Program run;
  };
  const Row rows[] = {
      {2, "wan-infer: [--out] must be free",
       [](const Command&) -> int { throw InvalidRequest("out", "must be free"); }},
      {3, "wan-infer: [a.gguf] must be whole",
       [](const Command&) -> int { throw ModelError("a.gguf", "must be whole"); }},
      {1, "wan-infer: [memory] ran out",
       [](const Command&) -> int { C10_THROW_ERROR(OutOfMemoryError, "tried to allocate 40 GiB"); }},
      {1,
       "wan-infer: [device] the device can compute nothing more in this run: CUDA error: unknown error; the same "
       "command goes on",
       [](const Command&) -> int {
         throw c10::AcceleratorError({__func__, __FILE__, uint32_t(__LINE__)}, 999,
                                     "CUDA error: unknown error\nFor debugging consider CUDA_LAUNCH_BLOCKING=1");
       }},
      {5, "wan-infer: [--prompt] must have no blocked word, has 'x'; another goes on",
       [](const Command&) -> int {
         throw SafetyRefusal("prompt", "must have no blocked word, has 'x'", "another goes on", {});
       }},
      {130, "wan-infer: [stop] ", [](const Command&) -> int { throw Cancelled(); }},
      {1, "wan-infer: odd", [](const Command&) -> int { throw std::runtime_error("odd"); }},
      {7, "", [](const Command&) -> int { return 7; }}};
  for (const Row& row : rows) {
    std::string said;
    EXPECT_EQ(code_of(row.run, said), row.code) << said;
    EXPECT_TRUE(said.starts_with(row.begin)) << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), row.code == 7 ? 0 : 1) << said;
  }
}

TEST(ExitCode, AReaderThatHasGoneIsNoFailure) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  std::cout.flush();
  std::fflush(stdout);
  const int kept = dup(STDOUT_FILENO);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  dup2(ends[1], STDOUT_FILENO);
  close(ends[1]);
  std::string said;
  const int code = code_of(
      [](const Command&) -> int {
        std::cout << std::string(100'000, 'x');
        return 0;
      },
      said);
  __fpurge(stdout);
  std::clearerr(stdout);
  std::cout.clear();
  dup2(kept, STDOUT_FILENO);
  close(kept);
  std::signal(SIGPIPE, before);
  EXPECT_EQ(code, 141);
  EXPECT_EQ(said, "");
}

}  // namespace
}  // namespace wan
