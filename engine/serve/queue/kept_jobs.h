// The jobs that are in memory: all unfinished ones, and those that ended or were asked for last.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/serve/queue/jobs.h"
#include "engine/serve/queue/signal.h"

namespace wan::serve {

/// A job and what only Jobs knows of it.
struct KeptJob : LiveJob {
  uint64_t age = 0;     // grows in the order in which jobs were accepted
  bool ending = false;  // its end is on the way to the disk
  bool removing = false;
  std::vector<LogEntry> unwritten;  // logs that are not on the way to the disk yet
  std::shared_ptr<Waiters> waiters = std::make_shared<Waiters>();

  /// For everybody who waits for a change.
  void change() {
    ++version;
    waiters->wake();
  }
};
using KeptPtr = std::shared_ptr<KeptJob>;

class KeptJobs {
 public:
  KeptJobs(size_t most_ended, size_t most_bytes) : most_ended_(most_ended), most_bytes_(most_bytes) {}

  /// A job that has not ended.
  void add(const KeptPtr& job);
  /// A job that has ended, new or added before: it is kept until others were used more lately.
  void add_ended(const KeptPtr& job);
  /// Null where it is not here. An ended one counts as used.
  KeptPtr find(const std::string& id);
  /// The same job by what callers hold; null where it is not here any more, or was replaced.
  KeptPtr find(const LiveJob& job) const;
  void remove(const std::string& id);
  /// By age.
  std::vector<KeptPtr> unfinished() const;
  size_t ended() const { return ended_.size(); }

 private:
  struct Ended {
    KeptPtr job;
    size_t bytes = 0;
  };
  struct Entry {
    KeptPtr job;
    std::list<Ended>::iterator ended;  // ended_.end(): it has not
  };
  void drop(std::list<Ended>::iterator at);

  size_t most_ended_, most_bytes_, bytes_ = 0;
  std::unordered_map<std::string, Entry> jobs_;
  std::list<Ended> ended_;  // the last used first
};

}  // namespace wan::serve
