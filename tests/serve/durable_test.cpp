// Each commit waits for the disk: its calls of fsync and fdatasync are counted.
#include <gtest/gtest.h>

#include "engine/serve/queue/store.h"
#include "tests/serve/disk_faults.h"
#include "tests/serve/queue_jobs.h"

namespace wan::serve {
namespace {

TEST(Store, SyncsEachCommit) {
  QueueFolder folder;
  const std::atomic<int>& syncs = disk_faults().syncs;
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
