// A machine whose /dev/shm is full: containers give it 64 MB by default.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

/// The exit code of these words in a shell that sees a full /dev/shm of its own; nothing where none can be made.
std::optional<int> with_full_memory_folder(const std::string& words) {
  constexpr int kNone = 99;
  const std::string full =
      "mount -t tmpfs -o size=4k tmpfs /dev/shm 2>/dev/null || exit 99; dd if=/dev/zero of=/dev/shm/full bs=4k count=2 "
      "2>/dev/null; ! dd if=/dev/zero of=/dev/shm/more bs=1 count=1 2>/dev/null || exit 99; ";
  const int status = std::system(("unshare -m sh -c '" + full + words + "' 2>/dev/null").c_str());
  if (!WIFEXITED(status) || WEXITSTATUS(status) == kNone) return std::nullopt;
  return WEXITSTATUS(status);
}

TEST(ProgramSharedMemory, AFullFolderIsNoHindrance) {
  if (with_full_memory_folder("exit 0") != 0) GTEST_SKIP() << "no folder can be mounted here";
  TemporaryFolder folder;
  const std::string said = folder / "said.txt";
  const auto code = with_full_memory_folder(
      "cd " + folder.path().string() +
      " && exec " WAN_BINARY_DIR "/tools/wan-infer t2v --model " WAN_SOURCE_DIR
      "/tests/nano/Wan2.2-T2V-A14B-nano --prompt x --width 64 --height 64 --num-frames 17 --num-inference-steps 2 "
      "--seed 1 --device cpu --out a.mp4 >" +
      said + " 2>&1");
  EXPECT_EQ(code, 0) << content(said);
  EXPECT_TRUE(std::filesystem::exists(folder / "a.mp4"));
}

}  // namespace
}  // namespace wan
