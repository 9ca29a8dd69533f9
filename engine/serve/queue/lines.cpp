#include "engine/serve/queue/lines.h"

#include <algorithm>

namespace wan::serve {

Lines::Line::const_iterator Lines::seek(const Line& line, uint64_t age) {
  return std::lower_bound(line.begin(), line.end(), age,
                          [](const auto& entry, uint64_t value) { return entry.first < value; });
}

bool Lines::is_before(const Owner& one, const Owner& other) {
  if (one.last_turn != other.last_turn) return one.last_turn < other.last_turn;
  return one.line.front().first < other.line.front().first;
}

void Lines::add(const JobPtr& job, uint64_t age) {
  remove(*job);
  const Place place{!job->job.batch.empty(), int(job->job.priority), job->job.owner, age};
  Line& line = place.has_batch ? begun_ : owners_[size_t(place.priority)][place.owner].line;
  line.insert(seek(line, age), {age, job});
  if (!place.has_batch) ++sizes_[size_t(place.priority)];
  places_[job->job.id] = place;
}

void Lines::remove(const LiveJob& job) {
  const auto found = places_.find(job.job.id);
  if (found == places_.end()) return;
  const Place& place = found->second;
  Line& line = place.has_batch ? begun_ : owners_[size_t(place.priority)][place.owner].line;
  line.erase(seek(line, place.age));
  if (!place.has_batch) --sizes_[size_t(place.priority)];
  places_.erase(found);
}

void Lines::count_turn(const LiveJob& job) {
  owners_[size_t(job.job.priority)][job.job.owner].last_turn = ++turns_;
}

int64_t Lines::position(const LiveJob& job) const {
  const auto found = places_.find(job.job.id);
  if (found == places_.end()) return 0;
  const Place& place = found->second;
  if (place.has_batch) return seek(begun_, place.age) - begun_.begin();
  const Owners& owners = owners_[size_t(place.priority)];
  const Owner& own = owners.at(place.owner);
  const int64_t round = seek(own.line, place.age) - own.line.begin();
  int64_t before = int64_t(begun_.size()) + round;
  for (int priority = 0; priority < place.priority; ++priority) before += int64_t(sizes_[size_t(priority)]);
  for (const auto& [name, other] : owners) {
    if (other.line.empty() || name == place.owner) continue;
    before += std::min(int64_t(other.line.size()), round + (is_before(other, own) ? 1 : 0));
  }
  return before;
}

std::vector<JobPtr> Lines::in_order() const {
  std::vector<JobPtr> jobs;
  jobs.reserve(places_.size());
  for (const auto& [age, job] : begun_) jobs.push_back(job);
  for (const Owners& owners : owners_) {
    std::vector<const Owner*> turns;
    for (const auto& [name, owner] : owners) {
      if (!owner.line.empty()) turns.push_back(&owner);
    }
    std::sort(turns.begin(), turns.end(), [](const Owner* one, const Owner* other) { return is_before(*one, *other); });
    for (size_t round = 0; !turns.empty(); ++round) {
      for (const Owner* owner : turns) jobs.push_back(owner->line[round].second);
      std::erase_if(turns, [&](const Owner* owner) { return owner->line.size() == round + 1; });
    }
  }
  return jobs;
}

}  // namespace wan::serve
