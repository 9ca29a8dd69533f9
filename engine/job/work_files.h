// The files of a batch's jobs in its work folder: where each lies, and when it may go.
#pragma once

#include <filesystem>
#include <list>
#include <map>
#include <string>

#include "engine/job/batch_job.h"
#include "engine/job/journal.h"

namespace wan {

class WorkFiles {
 public:
  explicit WorkFiles(Journal& journal) : journal_(journal) {}

  std::filesystem::path latents(const BatchJob& job) const { return journal_.file(job.name, "latents"); }
  std::filesystem::path sampling(const BatchJob& job) const { return journal_.file(job.name, "sampling"); }
  /// The folder of a speech job.
  std::filesystem::path clips(const BatchJob& job) const { return journal_.file(job.name, "clips"); }
  /// `name` is one of the job's positive, negative and input.
  std::filesystem::path encoding(const std::string& name) const { return journal_.file(name, "encoded"); }
  /// Copies of URLs lie here: each is fetched once for all jobs, and kept while one that names it is not finished.
  std::string copies() const { return (journal_.folder() / "").string(); }

  /// What earlier runs noted that the job may have left.
  void recall(BatchJob& job) const;
  /// Fills the job's files and video, from its names and its request.
  void settle(BatchJob& job) const;
  /// Before the first of them is written: later runs, which may give the work other names, remove them as well.
  void note(const BatchJob& job);
  /// After all jobs are prepared, or have failed to be: counts what the unfinished ones need, and removes what a kill
  /// left of finished ones. A job that could not be prepared may need any: then all stay until a run in which each can.
  void count(const std::list<BatchJob>& jobs);
  /// The job is finished: removes what no other needs.
  void drop(const BatchJob& job);

 private:
  void remove_unneeded(const BatchJob& job) const;

  Journal& journal_;
  std::map<std::string, int64_t> needed_;  // by how many unfinished jobs
  bool all_known_ = false;                 // whether needed_ names them all
};

}  // namespace wan
