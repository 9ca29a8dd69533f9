// What is found in a finished video (--quality-check), and the render that is made once more for it. The first video is
// written beside the output, under a name of its own, and goes to the output where nothing is found in it. Else it
// stays, the journal says so, and another job, with exact kernels and the same seed, makes the output.
#pragma once

#include <optional>
#include <string>

#include "engine/base/log.h"
#include "engine/job/job.h"
#include "engine/job/work_folder.h"

namespace wan {

/// Whether a job computes exactly as it is: another render would give the same bytes.
bool computes_exactly(const Request& request, const StepReuse& reuse);
/// The request with exact kernels: precision exact, without Skip-Softmax and acceleration. It is not retried itself.
Request exact_of(Request request);

/// Of a job that makes a second video: adds to its record what was asked for, and what was measured of the first.
void add_retry(const Job& job, Record& record);

/// One event "quality" for each finding: out, kind, text, change.
void tell_quality(const std::string& out, const std::optional<QualityNumbers>& quality, const Log& log);
void tell_quality(const Job& job, const Log& log);

/// "clip.first.mp4" of "clip.mp4", or "clip.first-2.mp4" and so on: the first name at which there is no file.
std::string free_first_name(const std::string& out);

/// The first videos of a work folder's jobs.
class FirstVideos {
 public:
  FirstVideos(WorkFolder& folder, const Log& log, bool overwrite) : folder_(folder), log_(log), overwrite_(overwrite) {}

  /// Before the job's video is written: sets Job::first where it may be retried, and notes it. The same name in each
  /// run.
  void begin(Job& job);
  /// After it: whether it stays aside since something was found in it. Else it is at the output.
  bool end(Job& job);
  /// Before the job is prepared: whether an earlier run has set its video aside. Where the request wants no retry any
  /// more, that video goes to the output, and the job is finished; not over a file that is not to be overwritten.
  bool recall(Job& job);
  /// Of a job that was finished before: what its file says of its quality, and of its safety where nothing else does.
  void recall_finished(Job& job) const;
  /// After `again` has ended, which was to make the output of `job`: the result of `job`. Where it failed, the first
  /// video goes to the output after all, and the log says why.
  void settle(Job& job, const Job& again, bool keep_first);
  /// Whether a folder's journal has a video that waits for its second render.
  static bool is_waiting(const WorkFolder& folder);

 private:
  std::string key_of(const Job& job) const { return "first " + job.key; }
  /// Moves the first video to the output, and notes that the job is done.
  void take_first(Job& job);
  void note_done(const Job& job);

  WorkFolder& folder_;
  const Log& log_;
  const bool overwrite_;
};

}  // namespace wan
