#include "engine/serve/queue/kept_jobs.h"

#include <algorithm>

namespace wan::serve {
namespace {

/// Memory of a JSON value, roughly.
template <typename Json>
size_t bytes_of(const Json& json) {
  size_t bytes = 32;
  if (json.is_string()) return bytes + json.template get_ref<const std::string&>().size();
  if (json.is_object()) {
    for (const auto& [name, value] : json.items()) bytes += 64 + name.size() + bytes_of(value);
  } else if (json.is_array()) {
    for (const auto& value : json) bytes += bytes_of(value);
  }
  return bytes;
}

size_t bytes_of(const KeptJob& kept) {
  size_t bytes = 1024 + bytes_of(kept.job.input) + bytes_of(kept.job.fields);
  if (kept.job.output) bytes += kept.job.output->prompt.size();
  if (kept.job.error) bytes += bytes_of(kept.job.error->detail);
  for (const LogEntry& entry : kept.logs) bytes += sizeof entry + entry.message.size();
  return bytes;
}

}  // namespace

void KeptJobs::add(const KeptPtr& job) {
  jobs_[job->job.id] = {job, ended_.end()};
}

void KeptJobs::add_ended(const KeptPtr& job) {
  remove(job->job.id);
  ended_.push_front({job, bytes_of(*job)});
  bytes_ += ended_.front().bytes;
  jobs_[job->job.id] = {job, ended_.begin()};
  while (ended_.size() > most_ended_ || (bytes_ > most_bytes_ && ended_.size() > 1)) drop(std::prev(ended_.end()));
}

void KeptJobs::drop(std::list<Ended>::iterator at) {
  jobs_.erase(at->job->job.id);
  bytes_ -= at->bytes;
  ended_.erase(at);
}

KeptPtr KeptJobs::find(const std::string& id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return nullptr;
  if (found->second.ended != ended_.end()) ended_.splice(ended_.begin(), ended_, found->second.ended);
  return found->second.job;
}

KeptPtr KeptJobs::find(const LiveJob& job) const {
  const auto found = jobs_.find(job.job.id);
  return found != jobs_.end() && found->second.job.get() == &job ? found->second.job : nullptr;
}

void KeptJobs::remove(const std::string& id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  if (found->second.ended != ended_.end()) {
    drop(found->second.ended);
  } else {
    jobs_.erase(found);
  }
}

std::vector<KeptPtr> KeptJobs::unfinished() const {
  std::vector<KeptPtr> jobs;
  for (const auto& [id, entry] : jobs_) {
    if (entry.ended == ended_.end()) jobs.push_back(entry.job);
  }
  std::sort(jobs.begin(), jobs.end(), [](const KeptPtr& one, const KeptPtr& other) { return one->age < other->age; });
  return jobs;
}

}  // namespace wan::serve
