// Who is next: priorities, owners in turns, age; and a job's place without going through all of them.
#include "engine/serve/queue/lines.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/serve/queue_jobs.h"

namespace wan::serve {
namespace {

JobPtr live(const std::string& name, Priority priority = Priority::Normal) {
  auto job = std::make_shared<LiveJob>();
  job->job.id = name;
  job->job.owner = name.substr(0, 1);
  job->job.priority = priority;
  return job;
}

std::string order_of(const Lines& lines) {
  std::string text;
  for (const JobPtr& job : lines.in_order()) text += job->job.id + " ";
  return text;
}

TEST(Lines, OwnersTakeTurns) {
  Lines lines;
  uint64_t age = 0;
  for (const char* name : {"a1", "a2", "a3", "b1", "c1", "b2"}) lines.add(live(name), ++age);
  EXPECT_EQ(order_of(lines), "a1 b1 c1 a2 b2 a3 ");
  lines.add(live("d1"), ++age);
  EXPECT_EQ(order_of(lines), "a1 b1 c1 d1 a2 b2 a3 ");
}

TEST(Lines, TheOwnerWhoseLastJobBeganLongestAgoIsNext) {
  Lines lines;
  uint64_t age = 0;
  std::vector<JobPtr> jobs;
  for (const char* name : {"a1", "b1", "a2", "b2"}) lines.add(jobs.emplace_back(live(name)), ++age);
  lines.count_turn(*jobs[1]);  // b began twice, a never
  lines.remove(*jobs[1]);
  EXPECT_EQ(order_of(lines), "a1 b2 a2 ");
  lines.add(live("c1"), ++age);  // had no turn yet, and is younger than a
  EXPECT_EQ(order_of(lines), "a1 c1 b2 a2 ");
}

TEST(Lines, LowPriorityIsAfterNormalAndABatchBeforeBoth) {
  Lines lines;
  uint64_t age = 0;
  lines.add(live("a1", Priority::Low), ++age);
  lines.add(live("b1"), ++age);
  lines.add(live("a2"), ++age);
  const JobPtr begun = live("c1", Priority::Low);
  begun->job.batch = "batch";
  lines.add(begun, ++age);
  EXPECT_EQ(order_of(lines), "c1 b1 a2 a1 ");
}

/// The rule in its plain form: choose the next, let it begin, and so on.
std::string by_the_rule(std::vector<std::pair<uint64_t, JobPtr>> jobs,
                        std::map<std::pair<int, std::string>, uint64_t> turns, uint64_t turn) {
  std::string text;
  while (!jobs.empty()) {
    const auto key = [&](const std::pair<uint64_t, JobPtr>& entry) {
      const Job& job = entry.second->job;
      if (!job.batch.empty()) return std::tuple(0, uint64_t(0), entry.first);
      return std::tuple(1 + int(job.priority), turns[{int(job.priority), job.owner}], entry.first);
    };
    const auto next = std::min_element(jobs.begin(), jobs.end(),
                                       [&](const auto& one, const auto& other) { return key(one) < key(other); });
    const Job& job = next->second->job;
    text += job.id + " ";
    if (job.batch.empty()) turns[{int(job.priority), job.owner}] = ++turn;
    jobs.erase(next);
  }
  return text;
}

TEST(Lines, OrderAndPlacesFollowTheRule) {
  std::mt19937 random(3);
  Lines lines;
  std::vector<std::pair<uint64_t, JobPtr>> jobs;
  std::map<std::pair<int, std::string>, uint64_t> turns;
  uint64_t age = 0, turn = 0;
  for (int round = 0; round < 600; ++round) {
    const auto choice = random() % 6;
    if (choice < 3 || jobs.empty()) {
      const JobPtr job = live(std::string(1, char('a' + random() % 5)) + std::to_string(++age), Priority(random() % 2));
      jobs.emplace_back(age, job);
      lines.add(job, age);
    } else {
      const size_t at = random() % jobs.size();
      const auto [old, job] = jobs[at];
      if (choice == 3) {  // ends
        lines.remove(*job);
        jobs.erase(jobs.begin() + std::ptrdiff_t(at));
      } else if (choice == 4 && job->job.batch.empty()) {  // begins in a batch
        lines.count_turn(*job);
        turns[{int(job->job.priority), job->job.owner}] = ++turn;
        job->job.batch = "batch";
        lines.add(job, old);
      } else if (choice == 5) {  // the next one begins and runs
        const JobPtr next = lines.in_order().front();
        if (next->job.batch.empty()) {
          const std::string before = order_of(lines);
          lines.count_turn(*next);
          turns[{int(next->job.priority), next->job.owner}] = ++turn;
          lines.remove(*next);
          ASSERT_EQ(next->job.id + " " + order_of(lines), before);  // the others keep their order
        } else {
          lines.remove(*next);
        }
        std::erase_if(jobs, [&](const auto& entry) { return entry.second == next; });
      }
    }
    ASSERT_EQ(order_of(lines), by_the_rule(jobs, turns, turn));
    ASSERT_EQ(lines.size(), jobs.size());
    int64_t place = 0;
    for (const JobPtr& job : lines.in_order()) {
      ASSERT_EQ(lines.position(*job), place++) << job->job.id;
    }
  }
  EXPECT_EQ(lines.position(*live("z9")), 0);
}

}  // namespace
}  // namespace wan::serve
