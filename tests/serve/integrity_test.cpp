// A database is opened without reading through it, and damage in it is found afterwards.
#include "engine/serve/queue/integrity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "engine/serve/queue/sqlite.h"
#include "engine/serve/queue/store.h"
#include "tests/serve/on_io.h"
#include "tests/serve/queue_jobs.h"

namespace wan::serve {
namespace {

/// A queue with ended jobs, closed.
void fill(const std::filesystem::path& file, int jobs) {
  const auto store = open_sqlite(file);
  std::vector<Change> changes;
  for (int i = 0; i < jobs; ++i) {
    Job job = a_job();
    job.status = JobStatus::Cancelled;
    changes.emplace_back(PutJob{job});
  }
  store->apply(changes);
}

/// Spoils the first page of an index that no start reads.
void damage(const std::filesystem::path& file) {
  int64_t page = 0, bytes = 0;
  {
    Database database(file);
    page = database.integer("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_seconds'");
    bytes = database.integer("PRAGMA page_size");
  }
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp((page - 1) * bytes);
  out.write(std::string(64, '\xA5').data(), 64);
}

/// While it lives, bytes that SQLite reads are counted.
class CountedReads {
 public:
  CountedReads() {
    bytes() = 0;
    // Which of them is used depends on how SQLite was built.
    for (const char* name : {"pread", "pread64"}) set(name, reinterpret_cast<sqlite3_syscall_ptr>(&counted_at));
    set("read", reinterpret_cast<sqlite3_syscall_ptr>(&counted));
  }
  ~CountedReads() {
    for (const char* name : {"pread", "pread64", "read"}) set(name, nullptr);
  }
  static std::atomic<int64_t>& bytes() {
    static std::atomic<int64_t> count = 0;
    return count;
  }

 private:
  static void set(const char* name, sqlite3_syscall_ptr call) {
    sqlite3_vfs* files = sqlite3_vfs_find(nullptr);
    files->xSetSystemCall(files, name, call);
  }
  static ssize_t counted(int file, void* into, size_t size) {
    bytes() += int64_t(size);
    return read(file, into, size);
  }
  static ssize_t counted_at(int file, void* into, size_t size, off_t at) {
    bytes() += int64_t(size);
    return pread(file, into, size, at);
  }
};

TEST(Integrity, NothingIsReadThroughAtTheStart) {
  const QueueFolder folder;
  fill(folder.file(), 3000);
  const int64_t size = int64_t(std::filesystem::file_size(folder.file()));
  const CountedReads reads;
  const auto store = open_sqlite(folder.file());
  EXPECT_TRUE(store->unfinished().empty());
  EXPECT_GT(CountedReads::bytes(), 0);
  EXPECT_LT(CountedReads::bytes() * 10, size) << "of a file with 3,000 jobs a few pages are enough";
}

TEST(Integrity, DamageThatNoQueryMetIsFound) {
  const QueueFolder folder;
  fill(folder.file(), 300);
  EXPECT_EQ(damage_of(folder.file()), std::nullopt);
  damage(folder.file());
  const auto store = open_sqlite(folder.file());
  const std::optional<std::string> found = damage_of(folder.file());
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->empty());
  EXPECT_THROW(damage_of(folder.path() / "none"), SqliteError);
}

TEST(Integrity, IsLookedAtBesideTheWork) {
  const QueueFolder good, bad;
  fill(good.file(), 300);
  fill(bad.file(), 300);
  damage(bad.file());
  boost::asio::io_context io;
  std::vector<std::string> damaged, told;
  const auto look = [&](const std::filesystem::path& file) {
    return IntegrityCheck(
        io, file, [&](const std::string& why) { damaged.push_back(why); },
        [&](const std::string& line) { told.push_back(line); });
  };
  const auto store = open_sqlite(good.file());
  const IntegrityCheck one = look(good.file()), other = look(bad.file()), third = look(bad.path() / "none");
  store->apply({PutJob{a_job()}});
  ASSERT_TRUE(run_until(io, [&] { return damaged.size() + told.size() >= 2; }));
  run_for(io, std::chrono::milliseconds(50));
  EXPECT_EQ(damaged.size(), 1u);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("was not found out"), std::string::npos) << told[0];
}

TEST(Integrity, OneThatIsGoneTellsNothing) {
  const QueueFolder folder;
  fill(folder.file(), 300);
  damage(folder.file());
  boost::asio::io_context io;
  bool told = false;
  {
    const IntegrityCheck check(
        io, folder.file(), [&](const std::string&) { told = true; }, [&](const std::string&) { told = true; });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  run_for(io, std::chrono::milliseconds(20));
  EXPECT_FALSE(told);
}

TEST(Integrity, ADamagedStoreIsReadAndNotChanged) {
  const QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  const Job job = a_job();
  store->apply({PutJob{job}});
  store->refuse_changes("[data] the database is damaged");
  try {
    store->apply({PutJob{a_job()}});
    ADD_FAILURE() << "was taken";
  } catch (const StoreUnavailable& error) {
    EXPECT_STREQ(error.what(), "[data] the database is damaged");
  }
  EXPECT_TRUE(store->find(job.id).has_value());
}

}  // namespace
}  // namespace wan::serve
