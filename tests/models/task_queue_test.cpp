// Work behind its caller's: order, bounds, and what a task throws.
#include "models/files/task_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace wan {
namespace {

TEST(TaskQueue, KeepsTheOrderAndWaitsForAll) {
  std::vector<int> seen;
  TaskQueue queue(2);
  for (int i = 0; i < 100; ++i) queue.push([&seen, i] { seen.push_back(i); });
  queue.wait();
  ASSERT_EQ(seen.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[size_t(i)], i);
}

TEST(TaskQueue, RunsBesideItsCaller) {
  std::promise<void> caller_went_on;
  TaskQueue queue(1);
  queue.push([&] { caller_went_on.get_future().wait(); });  // would never end in the caller's thread
  caller_went_on.set_value();
  queue.wait();
}

TEST(TaskQueue, WaitsForTheOneThatRuns) {
  std::atomic<bool> done = false;
  std::promise<void> runs;
  TaskQueue queue(1);
  queue.push([&] {
    runs.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // for a wait() that ends too early
    done = true;
  });
  runs.get_future().wait();  // none waits any more
  queue.wait();
  EXPECT_TRUE(done);
}

TEST(TaskQueue, HoldsNoMoreThanItWasTold) {
  std::promise<void> go_on;
  std::shared_future<void> may(go_on.get_future());
  std::atomic<int> pushed = 0;
  TaskQueue queue(2);
  std::thread caller([&] {
    for (int i = 0; i < 5; ++i, ++pushed) queue.push([may] { may.wait(); });
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(pushed, 3) << "one that runs, and two that wait";
  go_on.set_value();
  caller.join();
  EXPECT_EQ(pushed, 5);
  queue.wait();
}

TEST(TaskQueue, WhatATaskThrowsComesOutOnceAndEndsTheRest) {
  std::atomic<int> made = 0;
  TaskQueue queue(8);
  std::promise<void> pushed;
  queue.push([&] {
    pushed.get_future().wait();
    throw std::runtime_error("the disk is full");
  });
  queue.push([&] { ++made; });
  pushed.set_value();
  EXPECT_THROW(queue.wait(), std::runtime_error);
  EXPECT_EQ(made, 0);
  queue.wait();  // told once
  queue.push([&] { ++made; });
  queue.wait();
  EXPECT_EQ(made, 1);
}

TEST(TaskQueue, GoesWithWhatWaits) {
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> seen = held;
  std::promise<void> go_on;
  std::shared_future<void> may(go_on.get_future());
  std::promise<void> runs;
  std::thread later;
  {
    TaskQueue queue(4);
    queue.push([may, &runs] {
      runs.set_value();
      may.wait();
    });
    runs.get_future().wait();
    queue.push([held] { ADD_FAILURE() << "must be dropped"; });
    held.reset();
    later = std::thread([&go_on] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      go_on.set_value();
    });
  }  // the task that runs ends, the one behind it goes
  later.join();
  EXPECT_TRUE(seen.expired());
}

}  // namespace
}  // namespace wan
