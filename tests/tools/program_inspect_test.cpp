// wan-infer inspect, as its users run it: what it costs, and that it says what the engine says.
#include <gtest/gtest.h>

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
  EXPECT_LT(all.peak_rss, 100 << 20) << "libtorch alone takes 150 MB";
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
