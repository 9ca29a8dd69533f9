// The order in which waiting jobs are to begin.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/serve/queue/jobs.h"

namespace wan::serve {

/// Jobs that have a batch are first, by age. Then normal priority before low; within a priority the owner whose last job
/// began longest ago is next, with its oldest job. That is a round over the owners, so a job's place follows from the
/// lengths of their lines: position() takes time with the number of owners, not of jobs.
class Lines {
 public:
  /// `age` grows from job to job in the order in which they were accepted.
  void add(const JobPtr& job, uint64_t age);
  /// The job leaves: it began, or ended without that. Does nothing where it is in no line.
  void remove(const LiveJob& job);
  /// It is the owner's turn that was used; before or after remove().
  void count_turn(const LiveJob& job);

  size_t size() const { return places_.size(); }
  /// How many are before it; 0 where it is in no line.
  int64_t position(const LiveJob& job) const;
  /// All of them.
  std::vector<JobPtr> in_order() const;

 private:
  using Line = std::deque<std::pair<uint64_t, JobPtr>>;  // by age
  struct Owner {
    Line line;
    uint64_t last_turn = 0;  // counts turns of all owners; 0: had none yet
  };
  using Owners = std::map<std::string, Owner>;
  struct Place {
    bool has_batch = false;
    int priority = 0;
    std::string owner;
    uint64_t age = 0;
  };
  static Line::const_iterator seek(const Line& line, uint64_t age);
  /// Whether the one's turn is before the other's; both have jobs.
  static bool is_before(const Owner& one, const Owner& other);

  Line begun_;
  std::array<Owners, 2> owners_;  // by priority
  std::unordered_map<std::string, Place> places_;
  uint64_t turns_ = 0;
  std::array<size_t, 2> sizes_{};  // of the priorities
};

}  // namespace wan::serve
