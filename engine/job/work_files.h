// The files of jobs in their work folder: where each lies, and when it may go.
#pragma once

#include <filesystem>
#include <list>
#include <map>
#include <string>

#include "engine/job/job.h"
#include "engine/job/work_folder.h"

namespace wan {

class WorkFiles {
 public:
  explicit WorkFiles(WorkFolder& folder) : folder_(folder) {}

  std::filesystem::path latents(const Job& job) const { return folder_.file(job.name, "latents.safetensors"); }
  std::filesystem::path sampling(const Job& job) const { return folder_.file(job.name, "sampling.safetensors"); }
  /// The folder of a speech job.
  std::filesystem::path clips(const Job& job) const { return folder_.file(job.name, "clips"); }
  /// `name` is one of the job's positive, negative and input.
  std::filesystem::path encoding(const std::string& name) const { return folder_.file(name, "encoded.safetensors"); }
  /// The video whose sound the job keeps: the input's file, or the copy of its URL.
  std::string sound(const Job& job) const;

  /// What earlier runs noted that the job may have left; what lies in other folders of the batch is taken over first.
  void recall(Job& job) const;
  /// Fills the job's files, from its names and its request.
  void settle(Job& job) const;
  /// Removes those of them that a disk has damaged, and says so: they are made again.
  void drop_damaged(const Job& job, const Log& log);
  /// How much of them is there.
  uint64_t bytes(const Job& job) const;
  /// Before the first of them is written: later runs, which may give the work other names, remove them as well.
  void note(const Job& job);
  /// After all jobs are prepared, or have failed to be: counts what the unfinished ones need, and removes what a kill
  /// left of finished ones, and what those have left that were taken back. A job that could not be prepared may need any:
  /// then all stay until a run in which each can.
  void count(const std::list<Job>& jobs);
  /// The same for a job that comes later: what it needs.
  void count(const Job& job);
  /// The job is finished or was taken back: removes what no other needs.
  void drop(const Job& job);
  /// Copies of the job's URLs that cannot be read: the next run fetches them anew.
  void drop_copies(const Job& job) const;

 private:
  void remove_unneeded(const Job& job) const;

  WorkFolder& folder_;
  std::map<std::string, int64_t> needed_;  // by how many unfinished jobs
  std::set<std::string> whole_;            // names of files that were looked at and are whole
  bool all_known_ = false;                 // whether needed_ names them all
};

}  // namespace wan
