// Work that is done behind its caller's: tasks in their order, by a thread of their own.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace wan {

/// Tasks run one after another, in the order in which they came. What one throws comes out of the next call of push or
/// wait, and the tasks behind it are dropped. Calls come from one thread.
class TaskQueue {
 public:
  /// `most`: tasks that wait before push waits, at least 1.
  explicit TaskQueue(size_t most);
  /// The task that runs ends; those that wait are dropped.
  ~TaskQueue();
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  void push(std::function<void()> task);
  /// Until every task is done.
  void wait();

 private:
  void work();
  void rethrow();

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool busy_ = false, ends_ = false;
  std::exception_ptr failure_;
  std::thread thread_;  // last: it sees the others made
};

}  // namespace wan
