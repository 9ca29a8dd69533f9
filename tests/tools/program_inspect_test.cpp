// wan-infer inspect, as its users run it: what it costs, and that it says what the engine says.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "tests/layouts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

TEST(ProgramInspect, StartsWithoutLibtorch) {
  const TemporaryFolder folder;
  write_sparse_t2v_folder(folder / "m");
  const Outcome all = Process("wan-infer", {"inspect", "m", "--json"}, folder.path()).finish();
  EXPECT_EQ(all.code, 0) << all.err;
  // What the loader would bring in. (The peak of a child's memory counts that of the test before exec.)
  const std::string command = "LD_TRACE_LOADED_OBJECTS=1 '" WAN_BINARY_DIR "/tools/wan-inspect'";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string libraries(1 << 16, '\0');
  libraries.resize(std::fread(libraries.data(), 1, libraries.size(), pipe));
  pclose(pipe);
  EXPECT_NE(libraries.find("libc10"), std::string::npos) << libraries;
  EXPECT_EQ(libraries.find("libtorch"), std::string::npos) << libraries;
  EXPECT_TRUE(all.out == Process("wan-engine", {"inspect", "m", "--json"}, folder.path()).finish().out);
}

TEST(ProgramInspect, FailsAsTheEngineDoes) {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"inspect", "absent"}, {"inspect", "."}, {"inspect", "a", "--wrong"}}) {
    const Outcome one = Process("wan-infer", words, folder.path()).finish();
    const Outcome other = Process("wan-engine", words, folder.path()).finish();
    EXPECT_EQ(one.code, other.code);
    EXPECT_NE(one.code, 0);
    EXPECT_EQ(one.err, other.err);
  }
}

}  // namespace
}  // namespace wan
