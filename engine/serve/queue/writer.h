// The thread that the store belongs to: it commits what has come while the last commit ran, all at once, and asks questions.
#pragma once

#include "engine/serve/net/asio.h"
//
#include <boost/asio/executor_work_guard.hpp>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/serve/queue/store.h"

namespace wan::serve {

class StoreWriter {
 public:
  /// Called on the io_context's thread; with what the store refused.
  using Done = std::function<void(std::exception_ptr)>;
  /// What happens to changes that the store does not take at present.
  enum class Refused { Fail, Retry };

  /// `report` is called on the io_context's thread.
  StoreWriter(boost::asio::io_context& io, std::unique_ptr<Store> store,
              std::function<void(const std::string&)> report);
  ~StoreWriter() { stop(); }

  /// `done` is called when the changes are on the disk, or, with the error, when they are refused: because the store is
  /// unavailable (not with Refused::Retry: these are tried again every second) or because of the changes themselves.
  /// Changes are made in the order of the calls; `done` is called in that order.
  void write(std::vector<Change> changes, Refused refused, Done done);
  /// Asks, after all changes that were given before. `question` runs on the writer's thread.
  void ask(std::function<void(Store&)> question, Done done);
  /// Returns when everything is written; what the store refuses once more is reported and lost.
  void stop();

 private:
  using Work = boost::asio::executor_work_guard<boost::asio::io_context::executor_type>;
  struct Task {
    std::vector<Change> changes;
    Refused refused = Refused::Fail;
    std::function<void(Store&)> question;
    Done done;
    std::shared_ptr<Work> work;  // io_context::run() goes on until `done` was called
    std::exception_ptr error;
    bool is_waiting = false;  // to be tried again
    size_t moved = 0;         // of its changes into a common list
  };
  void add(Task task);
  // These run on the thread.
  void run();
  void commit(std::vector<Task>& tasks);
  /// In one transaction, those for which `which` is true.
  template <typename Which>
  std::exception_ptr apply_together(std::vector<Task>& tasks, const Which& which);
  void apply_alone(std::vector<Task>& tasks);
  void put_off(Task& task);
  void ask(Task& task);
  /// Reports when the store begins to refuse, and when it ends.
  void note(bool works, const std::string& why);
  void say(const std::string& text);
  void tell(std::vector<Task> tasks);

  boost::asio::io_context& io_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<std::function<void(const std::string&)>> report_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Task> tasks_;  // with mutex_, as the next
  bool stopping_ = false;
  bool works_ = true;  // the thread's own: whether the last commit was taken
  std::thread thread_;
};

}  // namespace wan::serve
