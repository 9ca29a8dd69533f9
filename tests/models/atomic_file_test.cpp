#include "models/files/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <vector>

#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSize = 4096;

/// Writes `path` again and again for two seconds, and gives up half of what it begins. Returns whether every commit put
/// a whole file in place.
bool write_often(const std::string& path, char letter) try {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (int i = 0; std::chrono::steady_clock::now() < end; ++i) {
    AtomicFile file(path);
    if (i % 64 != 0) continue;
    file.write(std::string(kSize, letter).data(), kSize);
    file.commit();
  }
  return true;
} catch (const std::exception&) {
  return false;
}

}  // namespace

// A run that opens the part just before another renames or removes it must not take that file for its own.
TEST(AtomicFile, RunsThatWriteOneNameLeaveItWhole) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.bin";
  AtomicFile first(path);
  first.write(std::string(kSize, 'a').data(), kSize);
  first.commit();
  std::vector<pid_t> runs;
  for (char letter : {'b', 'c', 'd'}) {
    runs.push_back(fork());
    if (runs.back() == 0) _exit(write_often(path, letter) ? 0 : 1);
  }
  int64_t torn = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1800);
  while (std::chrono::steady_clock::now() < end) {
    const std::string bytes = content_of(path);
    torn += bytes.size() != kSize || bytes != std::string(kSize, bytes[0]);
  }
  EXPECT_EQ(torn, 0);
  for (pid_t run : runs) {
    int status = -1;
    waitpid(run, &status, 0);
    EXPECT_EQ(status, 0) << "a commit found its part gone";
  }
  EXPECT_EQ(content_of(path).size(), kSize);
}

TEST(AtomicFile, ReplacesWithoutWaitingForTheDisk) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.bin";
  for (const std::string bytes : {"one", "two"}) {
    AtomicFile file(path);
    file.write(bytes.data(), bytes.size());
    file.replace();
    EXPECT_EQ(content_of(path), bytes);
  }
  EXPECT_FALSE(fs::exists(path + ".part"));
}

TEST(AtomicFile, LinksAndPipesAreNotWritten) {
  const TemporaryFolder folder;
  std::ofstream(folder / "mine") << "mine";
  fs::create_symlink(folder / "mine", folder / "a.bin.part");
  AtomicFile file(folder / "a.bin");
  EXPECT_NE(file.part(), folder / "a.bin.part");
  file.write("x", 1);
  file.commit();
  EXPECT_EQ(content_of(folder / "mine"), "mine");
  EXPECT_EQ(content_of(folder / "a.bin"), "x");
}

}  // namespace wan
