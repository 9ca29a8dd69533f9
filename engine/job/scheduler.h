// Which stage of which job runs next: many jobs go through each phase together, so that weights move least.
#pragma once

#include <chrono>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/job/job.h"
#include "engine/job/work_folder.h"

namespace wan {

struct RunResult {
  std::vector<JobResult> jobs;  // in the given order
  int64_t prompts_encoded = 0, inputs_encoded = 0, expert_loads = 0;
  std::vector<std::pair<std::string, double>> phase_seconds;  // of the phases that had work, in their order
  bool cancelled = false;

  int64_t count(JobState state) const;
};

/// What is run: requests with the lines of the manifest they come from.
struct JobRequest {
  int64_t line = 0;
  Request request;
  std::string name = {};  // of the output, in logs and reports; empty: that of a path alone (shown_name)
  OutputOptions output = {};
  AttentionChoices attention = {};          // of a replay: what computed the video
  std::optional<VaeTiles> tiles = {};       // the same of its VAE
  std::optional<Expansion> expansion = {};  // the same of its prompt: nobody is asked
  /// Tells it from equal requests of its work folder, in whatever order they are given. Empty: its number among them does.
  std::string id = {};
};

/// Renders what the work folder does not know as finished. By default all jobs of one model go through each phase
/// together: inputs, prompts, high-noise expert, low-noise expert, decoding, speech; equal prompts and inputs are
/// encoded once. What waits between phases lies in the work folder, a running job's state at least every `save_every`; a
/// later call goes on there with the same bytes. A finished job is one whose note says so and whose output exists;
/// delete the output to render it again. Throws nothing for a job that fails: its result says why.
RunResult run_jobs(const std::vector<JobRequest>& jobs, WorkFolder& folder, const RunOptions& options, const Log& log,
                   Progress& progress);

}  // namespace wan
