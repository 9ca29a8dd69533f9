// Many requests in one run: in phases, so that weights move least, and resumable after any end.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/job/journal.h"
#include "engine/request/manifest.h"
#include "engine/residency/contexts.h"

namespace wan {

struct BatchOptions {
  bool given_order = false;                                        // job by job, not phase by phase
  bool fail_fast = false;                                          // stop at the first job that fails
  std::chrono::milliseconds save_every = std::chrono::minutes(1);  // the longest time between saved states
  Contexts* contexts = nullptr;                                    // as RenderOptions
};

enum class JobState {
  Left,    // not done, and not failed: the batch ended before
  Done,    // rendered in this run
  Kept,    // had been finished before
  Failed,  // `error` says why
};

struct JobResult {
  int64_t line;  // of the manifest
  Request request;
  JobState state = JobState::Left;
  double seconds = 0;  // of work in this run
  std::string error = {};
};

struct BatchResult {
  std::vector<JobResult> jobs;  // in the manifest's order
  int64_t prompts_encoded = 0, inputs_encoded = 0, expert_loads = 0;
  bool cancelled = false;

  int64_t count(JobState state) const;
};

/// Renders what the journal does not know as finished. By default all jobs of one model folder go through each phase
/// together: inputs, prompts, high-noise expert, low-noise expert, decoding; equal prompts and inputs are encoded once.
/// What waits between phases lies in the journal's folder, a running job's state at least every `save_every`; a later
/// call goes on there with the same bytes. A finished job is one whose journal says so and whose output exists; delete
/// the output to render it again. Throws nothing for a job that fails: its result says why.
BatchResult render_batch(const std::vector<ManifestJob>& jobs, Journal& journal, const BatchOptions& options,
                         const Log& log, Progress& progress);

}  // namespace wan
