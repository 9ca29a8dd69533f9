#include "models/files/read_ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "models/files/error.h"
#include "models/weights/copier.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

std::string random_bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, 0);
  for (char& byte : bytes) byte = char(random());
  return bytes;
}

RingFile write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return {path, bytes.size(), state_of(path)};
}

/// What comes for each range, checked for order on the way.
std::vector<std::string> read_all(ReadRing& ring, const std::vector<FileRange>& ranges) {
  std::vector<std::string> got(ranges.size());
  size_t last = 0;
  while (const auto piece = ring.next()) {
    EXPECT_GE(piece->range, last);
    last = piece->range;
    EXPECT_EQ(piece->at, got[piece->range].size());
    EXPECT_TRUE(piece->size % ranges[piece->range].grain == 0 || piece->at + piece->size == ranges[piece->range].size);
    got[piece->range].append(piece->data, piece->size);
  }
  return got;
}

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

class ReadRingTest : public testing::Test {
 protected:
  /// Small buffers, so that a small file fills many.
  static RingOptions small() {
    RingOptions options;
    options.readers = 3;
    options.buffers = 4;
    options.buffer_bytes = 16 << 10;
    return options;
  }
  TemporaryFolder folder;
  const std::string bytes = random_bytes(1'000'003, 7);
  const RingFile file = write(folder / "weights.bin", bytes);
};

}  // namespace

TEST_F(ReadRingTest, GivesEveryRangeInOrder) {
  const std::string others = random_bytes(70'001, 8);
  const std::vector<RingFile> files = {file, write(folder / "other.bin", others)};
  // Beside each other, far apart, overlapping, backwards, empty, unaligned, to the last byte of each file.
  const std::vector<FileRange> ranges = {
      {0, 0, 7}, {0, 7, 4089, 2},         {0, 4096, 100'000, 4}, {1, 5, 69'996, 8}, {0, 900'001, 100'002},
      {0, 3, 0}, {0, 200'000, 50'000, 3}, {0, 200'000, 20'000},  {1, 0, 70'001}};
  for (const Caching caching : {Caching::Pass, Caching::Keep}) {
    RingOptions options = small();
    options.caching = caching;
    ReadRing ring(files, ranges, options);
    const std::vector<std::string> got = read_all(ring, ranges);
    for (size_t i = 0; i < ranges.size(); ++i)
      EXPECT_EQ(got[i], (ranges[i].file == 0 ? bytes : others).substr(ranges[i].offset, ranges[i].size)) << i;
    const uint64_t read = ring.counts().direct + ring.counts().buffered;
    EXPECT_GE(read, 390'000u);
    EXPECT_TRUE(caching == Caching::Pass || ring.counts().direct == 0);
  }
}

TEST_F(ReadRingTest, SmallRangesBesideEachOtherAreReadTogether) {
  std::vector<FileRange> ranges;
  for (uint64_t i = 0; i < 1000; ++i) ranges.push_back({0, i * 100, 100});
  std::atomic<int> reads = 0;
  RingOptions options = small();
  options.read = [&](int descriptor, void* to, size_t size, off_t at) {
    ++reads;
    return pread(descriptor, to, size, at);
  };
  ReadRing ring({file}, ranges, options);
  read_all(ring, ranges);
  EXPECT_LE(reads, 8);  // 100,000 bytes in buffers of 16,384
}

TEST_F(ReadRingTest, RingMemoryIsOfOneSize) {
  RingMemory memory;
  ASSERT_TRUE(memory.take(8192));
  EXPECT_NE(error_of([&] { memory.take(16384); }).find("has buffers of 8192 bytes, and one of 16384 is asked for"),
            std::string::npos);
  EXPECT_TRUE(memory.take(8192));
}

// Of a file that the user neither owns nor may write to, mincore() says of every page that it is there.
TEST_F(ReadRingTest, AFileOfAnotherUserIsNotTakenForCached) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can read as another user";
  const int descriptor = open(file.path.c_str(), O_RDONLY | O_DIRECT);
  if (descriptor < 0) GTEST_SKIP() << "this file system has no O_DIRECT";
  fsync(descriptor);
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  close(descriptor);
  // The group stays root's.
  fs::permissions(folder.path(), fs::perms::group_exec | fs::perms::group_read, fs::perm_options::add);
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  ASSERT_EQ(seteuid(65534), 0);
  uint64_t direct = 0;
  std::string wrong = error_of([&] {
    ReadRing ring({file}, ranges, small());
    read_all(ring, ranges);
    direct = ring.counts().direct;
  });
  ASSERT_EQ(seteuid(0), 0);
  EXPECT_EQ(wrong, "");
  EXPECT_GT(direct, bytes.size() / 2);
}

// Past the page cache where nothing of the file is in it, through it where most is.
TEST_F(ReadRingTest, WhatIsInThePageCacheIsNotReadFromTheDisk) {
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  const int descriptor = open(file.path.c_str(), O_RDONLY | O_DIRECT);
  if (descriptor < 0) GTEST_SKIP() << "this file system has no O_DIRECT";
  fsync(descriptor);
  {
    std::ifstream(file.path).ignore(2'000'000);
    ReadRing ring({file}, ranges, small());
    read_all(ring, ranges);
    EXPECT_EQ(ring.counts().buffered, bytes.size());
    EXPECT_EQ(ring.counts().direct, 0u);
  }
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  {
    ReadRing ring({file}, ranges, small());
    read_all(ring, ranges);
    EXPECT_EQ(ring.counts().direct, bytes.size());
  }
  close(descriptor);
}

TEST_F(ReadRingTest, FallsBackWhereTheFileSystemRefusesDirectReads) {
  for (const int refusal : {EINVAL, EOPNOTSUPP}) {
    const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
    RingOptions options = small();
    options.read = [&](int descriptor, void* to, size_t size, off_t at) -> ssize_t {
      if (fcntl(descriptor, F_GETFL) & O_DIRECT) {
        errno = refusal;
        return -1;
      }
      return pread(descriptor, to, size, at);
    };
    const int descriptor = open(file.path.c_str(), O_RDONLY);
    fsync(descriptor);
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
    ReadRing ring({file}, ranges, options);
    EXPECT_EQ(read_all(ring, ranges)[0], bytes);
    EXPECT_EQ(ring.counts().buffered, bytes.size());
    EXPECT_EQ(ring.counts().refused, 1u);  // of one file, by whichever reader saw it first
  }
}

// Through the page cache, because it must be: what was not in it before is not in it afterwards, unless it is to stay.
TEST_F(ReadRingTest, LeavesNothingInThePageCache) {
  for (const Caching caching : {Caching::Pass, Caching::Keep}) {
    RingOptions options = small();
    options.caching = caching;
    options.read = [&](int descriptor, void* to, size_t size, off_t at) -> ssize_t {
      if (fcntl(descriptor, F_GETFL) & O_DIRECT) return errno = EINVAL, -1;
      return pread(descriptor, to, size, at);
    };
    const int descriptor = open(file.path.c_str(), O_RDONLY);
    fsync(descriptor);
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
    {
      ReadRing ring({file}, ranges, options);
      read_all(ring, ranges);
    }
    void* mapped = mmap(nullptr, bytes.size(), PROT_READ, MAP_SHARED, descriptor, 0);
    std::vector<unsigned char> pages((bytes.size() + 4095) / 4096);
    ASSERT_EQ(mincore(mapped, bytes.size(), pages.data()), 0);
    const auto there = std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; });
    if (caching == Caching::Keep) {
      EXPECT_EQ(size_t(there), pages.size());
    } else {
      EXPECT_LT(size_t(there), pages.size() / 10);
    }
    munmap(mapped, bytes.size());
    close(descriptor);
  }
}

TEST_F(ReadRingTest, ReadsOnAfterShortReadsAndSignals) {
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  std::atomic<int> calls = 0;
  RingOptions options = small();
  options.read = [&](int descriptor, void* to, size_t size, off_t at) -> ssize_t {
    if (++calls % 3 == 0) {
      errno = EINTR;
      return -1;
    }
    if (fcntl(descriptor, F_GETFL) & O_DIRECT) return pread(descriptor, to, size, at);
    return pread(descriptor, to, std::min<size_t>(size, 1000), at);
  };
  for (const Caching caching : {Caching::Pass, Caching::Keep}) {
    options.caching = caching;
    ReadRing ring({file}, ranges, options);
    EXPECT_EQ(read_all(ring, ranges)[0], bytes);
  }
}

TEST_F(ReadRingTest, AnErrorOfTheDiskNamesFileOffsetAndBytes) {
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  RingOptions options = small();
  options.read = [&](int descriptor, void* to, size_t size, off_t at) -> ssize_t {
    if (at >= 65'536) {
      errno = EIO;
      return -1;
    }
    return pread(descriptor, to, size, at);
  };
  ReadRing ring({file}, ranges, options);
  const std::string error = error_of([&] { read_all(ring, ranges); });
  EXPECT_NE(error.find("weights.bin] cannot be read: wanted 16384 bytes at byte 65536, got 0 and the error "
                       "Input/output error; check the disk"),
            std::string::npos)
      << error;
}

TEST_F(ReadRingTest, AFileThatBecomesShorterWhileItIsReadIsNamed) {
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  RingOptions options = small();
  options.readers = 1;
  std::atomic<int> reads = 0;
  options.read = [&](int descriptor, void* to, size_t size, off_t at) -> ssize_t {
    if (++reads == 3) fs::resize_file(file.path, 40'000);
    return pread(descriptor, to, size, at);
  };
  ReadRing ring({file}, ranges, options);
  const std::string error = error_of([&] { read_all(ring, ranges); });
  EXPECT_NE(error.find("weights.bin] must stay as it is while it is loaded, became shorter: wanted 16384 bytes at byte "
                       "32768, got 7232; put it back"),
            std::string::npos)
      << error;
}

TEST_F(ReadRingTest, AFileThatIsWrittenToWhileItIsReadIsRefused) {
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  ReadRing ring({file}, ranges, small());
  ASSERT_TRUE(ring.next());
  std::fstream(file.path, std::ios::in | std::ios::out | std::ios::binary) << "other";
  const std::string error = error_of([&] {
    while (ring.next()) {
    }
  });
  EXPECT_NE(error.find("weights.bin] must stay as it is while it is loaded, was written to"), std::string::npos)
      << error;
}

TEST_F(ReadRingTest, AFileThatIsGoneCutOrReplacedSinceThePlanIsRefused) {
  const std::vector<FileRange> ranges = {{0, 0, 10}};
  const auto refusal = [&] { return error_of([&] { ReadRing(std::vector<RingFile>{file}, ranges, small()); }); };
  EXPECT_EQ(refusal(), "");
  // As long, but another.
  write(folder / "new.bin", random_bytes(bytes.size(), 9));
  fs::rename(folder / "new.bin", file.path);
  EXPECT_NE(refusal().find("weights.bin] must stay as it was when its header was read: was written or replaced since"),
            std::string::npos)
      << refusal();
  fs::resize_file(file.path, 1000);
  EXPECT_NE(refusal().find("had 1000003 bytes, has 1000; start again"), std::string::npos) << refusal();
  fs::remove(file.path);
  EXPECT_NE(refusal().find("weights.bin] must be there until it is loaded, is absent now"), std::string::npos)
      << refusal();
}

TEST_F(ReadRingTest, ABufferIsReadIntoAgainOnlyWhenItsLeaseIsGone) {
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  RingOptions options = small();
  ReadRing ring({file}, ranges, options);
  std::vector<RingPiece> held;
  for (int i = 0; i < options.buffers; ++i) held.push_back(*ring.next());
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  for (const RingPiece& piece : held)
    EXPECT_EQ(std::string(piece.data, piece.size), bytes.substr(piece.at, piece.size));
  const std::string error = error_of([&] { ring.next(); });
  EXPECT_NE(error.find("all 4 buffers are held"), std::string::npos) << error;
  held.erase(held.begin());
  EXPECT_TRUE(ring.next());
}

// Copies that wait in a device's queue hold their leases: the readers go on in the buffers that are left.
TEST_F(ReadRingTest, BuffersOfQueuedCopiesAreNotReadIntoBeforeTheyAreMade) {
  std::atomic<bool> held = true;
  Copier copier(cpu_copy_engine());
  copier.add(
      [&](CopyEngine&, Copied&) {  // at most ten seconds: a ring that throws must not leave it waiting
        for (int i = 0; i < 10'000 && held; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      },
      nullptr);
  RingOptions options = small();
  std::vector<std::string> copies(size_t(options.buffers - 1));
  std::string got;
  {
    ReadRing ring({file}, {{0, 0, bytes.size()}}, options);
    for (std::string& copy : copies) {
      const RingPiece piece = *ring.next();
      got.append(piece.data, piece.size);
      copier.add([&copy, piece](CopyEngine&, Copied&) { copy.assign(piece.data, piece.size); }, nullptr);
    }
    while (const auto piece = ring.next()) got.append(piece->data, piece->size);  // all through one buffer
  }
  EXPECT_EQ(got, bytes);
  held = false;
  copier.settle();
  size_t at = 0;
  for (const std::string& copy : copies) {
    ASSERT_GT(copy.size(), 0u);
    EXPECT_TRUE(copy == bytes.substr(at, copy.size())) << "from byte " << at;
    at += copy.size();
  }
}

TEST_F(ReadRingTest, LeasesMayOutliveTheRing) {
  std::optional<RingPiece> piece;
  {
    ReadRing ring({file}, {{0, 0, bytes.size()}}, small());
    piece = ring.next();
  }
  EXPECT_EQ(std::string(piece->data, piece->size), bytes.substr(0, piece->size));
}

TEST_F(ReadRingTest, StopsAtOnce) {
  struct Stopped : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  std::atomic<bool> asked = false;
  std::atomic<uint64_t> read = 0;
  RingOptions options = small();
  options.read = [&](int descriptor, void* to, size_t size, off_t at) -> ssize_t {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));  // a slow disk
    const ssize_t came = pread(descriptor, to, size, at);
    if (came > 0) read += uint64_t(came);
    return came;
  };
  options.check = [&] {
    if (asked) throw Stopped("enough");
  };
  const auto begin = std::chrono::steady_clock::now();
  {
    ReadRing ring({file}, {{0, 0, bytes.size()}}, options);
    ASSERT_TRUE(ring.next());
    asked = true;
    EXPECT_THROW(while (ring.next()){}, Stopped);
  }
  // 62 buffers would take 1.2 s.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(600));
  EXPECT_LT(read, bytes.size() / 2);
}

TEST_F(ReadRingTest, MemoryThatIsRefusedIsReplacedAndCounted) {
  const std::vector<FileRange> ranges = {{0, 0, bytes.size()}};
  RingOptions options = small();
  int asked = 0;
  std::set<const void*> given;
  options.take_memory = [&](size_t size) -> std::shared_ptr<char> {
    if (++asked > 1) return nullptr;
    std::shared_ptr<char> memory = ordinary_memory(size);
    given.insert(memory.get());
    return memory;
  };
  ReadRing ring({file}, ranges, options);
  EXPECT_EQ(read_all(ring, ranges)[0], bytes);
  EXPECT_EQ(asked, 4);
  EXPECT_EQ(given.size(), 1u);
  EXPECT_EQ(ring.refused_buffers(), 3);
}

TEST_F(ReadRingTest, RefusesWhatCannotBe) {
  const auto with = [&](const RingOptions& options, const FileRange& range) {
    return error_of([&] { ReadRing(std::vector<RingFile>{file}, std::vector<FileRange>{range}, options); });
  };
  RingOptions odd = small(), none = small();
  odd.buffer_bytes = 10'000;
  none.readers = 0;
  EXPECT_NE(with(odd, {0, 0, 1}).find("a multiple of 4096 bytes"), std::string::npos);
  EXPECT_NE(with(none, {0, 0, 1}).find("must have readers"), std::string::npos);
  EXPECT_NE(with(small(), {1, 0, 1}).find("must lie in one of 1 files"), std::string::npos);
  EXPECT_NE(with(small(), {0, 0, 100'000, 10'000}).find("half a buffer"), std::string::npos);
  ReadRing nothing({file}, {}, small());
  EXPECT_FALSE(nothing.next());
}

}  // namespace wan
