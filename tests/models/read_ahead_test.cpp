// Files that are read into the page cache before they are needed.
#include "models/files/read_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "models/files/mapped_file.h"
#include "models/weights/copier.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBytes = 24 << 20;

class ReadAheadTest : public testing::Test {
 protected:
  ReadAheadTest() {
    std::ofstream(path) << std::string(kBytes, 'x');
    make_cold();
  }

  void make_cold() const {
    const int file = open(path.c_str(), O_RDONLY);
    fdatasync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
  /// Pages of the file in memory, from 0 to 1.
  double cached() const {
    const auto file = MappedFile::open(path);
    const size_t page = size_t(sysconf(_SC_PAGESIZE)), pages = kBytes / page;
    std::vector<unsigned char> there(pages);
    if (mincore(const_cast<char*>(file->bytes().data()), kBytes, there.data()) != 0) return -1;
    return double(std::count_if(there.begin(), there.end(), [](unsigned char c) { return c & 1; })) / double(pages);
  }
  static void wait_for(const ReadAhead& ahead, uint64_t bytes) {
    for (int i = 0; i < 3000 && ahead.bytes() < bytes; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  TemporaryFolder folder;
  const fs::path path = folder / "file";
};

TEST_F(ReadAheadTest, PutsTheFileIntoThePageCacheAndTakesItOutAgain) {
  if (cached() > 0.1) GTEST_SKIP() << "this file system keeps its pages";
  {
    ReadAhead ahead({{path, kBytes}}, UINT64_MAX);
    wait_for(ahead, kBytes);
    ahead.stop();
    EXPECT_EQ(ahead.bytes(), kBytes);
    EXPECT_GT(cached(), 0.95);
  }
  EXPECT_LT(cached(), 0.1) << "it leaves nothing behind";
}

TEST_F(ReadAheadTest, LeavesWhatWasThereBefore) {
  std::string bytes(kBytes, 0);
  std::ifstream(path).read(bytes.data(), std::streamsize(kBytes));
  if (cached() < 0.95) GTEST_SKIP() << "the system lacks memory";
  {
    ReadAhead ahead({{path, kBytes}}, UINT64_MAX);
    wait_for(ahead, kBytes);
  }
  EXPECT_GT(cached(), 0.9);
}

TEST_F(ReadAheadTest, ReadsNoMoreThanItMay) {
  if (cached() > 0.1) GTEST_SKIP() << "this file system keeps its pages";
  ReadAhead ahead({{path, kBytes}}, kBytes / 4);
  wait_for(ahead, kBytes / 4);
  ahead.stop();
  EXPECT_EQ(ahead.bytes(), kBytes / 4);  // the system reads on by itself as well: what is in the cache may be more
}

TEST_F(ReadAheadTest, StopsAndIsNoErrorWhereAFileIsGone) {
  ReadAhead gone({{folder / "gone", kBytes}, {path, kBytes}}, UINT64_MAX);
  gone.stop();
  EXPECT_EQ(gone.bytes(), 0u);
  ReadAhead cut({{path, kBytes + 1}}, UINT64_MAX);
  cut.stop();
  EXPECT_EQ(cut.bytes(), 0u);
  std::atomic<bool> waits = true;
  ReadAhead waiting({{path, kBytes}}, UINT64_MAX, [&] {
    while (waits) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    waits = false;
  });
  waiting.stop();
  EXPECT_FALSE(waits) << "it returns behind what it waits for";
  EXPECT_EQ(waiting.bytes(), 0u);
  other.join();
}

// As engine/residency/networks_files begins it: behind all copies to the device.
TEST_F(ReadAheadTest, BeginsBehindTheCopiesThatAreQueued) {
  std::atomic<int> held = 2;
  Copier copier(cpu_copy_engine());
  for (int last = 1; last >= 0; --last)
    copier.add(
        [&held, last](CopyEngine&, Copied&) {
          while (held > last) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        },
        nullptr);
  ReadAhead ahead({{path, kBytes}}, UINT64_MAX, [&] { copier.settle(); });
  // The first copy runs and the second waits; then the second runs and none waits.
  for (const int left : {2, 1}) {
    held = left;
    for (int i = 0; i < 3000 && copier.copied().jobs < 2 - left; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(copier.copied().jobs, 2 - left);
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    EXPECT_EQ(ahead.bytes(), 0u) << left << " copies are left";
  }
  held = 0;
  wait_for(ahead, kBytes);
  EXPECT_EQ(ahead.bytes(), kBytes);
}

}  // namespace
}  // namespace wan
