// Each commit waits for the disk. Calls of fsync and fdatasync in this program, SQLite's too, are counted here.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "engine/serve/queue/store.h"
#include "tests/serve/queue_jobs.h"

static std::atomic<int> syncs{0};

extern "C" int fsync(int file) {
  ++syncs;
  return int(syscall(SYS_fsync, file));
}

extern "C" int fdatasync(int file) {
  ++syncs;
  return int(syscall(SYS_fdatasync, file));
}

namespace wan::serve {
namespace {

TEST(Store, SyncsEachCommit) {
  QueueFolder folder;
  const auto store = open_sqlite(folder.file());
  for (int i = 0; i < 5; ++i) {
    const int before = syncs;
    store->apply({PutJob{a_job()}, PutJob{a_job()}});
    EXPECT_GT(syncs, before);
  }
  const int before = syncs;
  store->unfinished();
  EXPECT_EQ(syncs, before);
}

}  // namespace
}  // namespace wan::serve
