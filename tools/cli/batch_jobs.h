// The jobs of a manifest or of one shard of it, and how far they are, without rendering any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request/manifest.h"
#include "tools/cli/batch_report.h"
#include "tools/cli/command_line.h"

namespace wan {

struct BatchJobs {
  std::vector<ManifestJob> jobs;  // of the command's shard, in the manifest's order
  size_t all = 0;                 // how many the whole manifest has
  double cost = 0, all_cost = 0;  // of these jobs and of all (cost_of)

  double share() const { return all_cost > 0 ? cost / all_cost : 1; }
};

/// Those of the command's manifest, whose drawn seeds follow from `draw`. The whole manifest is checked, whatever the
/// shard. Throws InvalidRequest.
BatchJobs batch_jobs(const Command& command, uint64_t draw);

/// batch --dry-run: a line for each job, with its share of the whole manifest's cost; or one JSON object.
std::string listing_text(const BatchJobs& batch, const Shard& shard);
std::string listing_json(const BatchJobs& batch, const Shard& shard);

/// What is known of the jobs from the reports of all runs in the work folder and its shards, the newest first, and from
/// the journals of those that still run: "done" and "kept" only where the video is there.
std::vector<ReportRow> progress_rows(const BatchJobs& batch, const std::string& work);

/// The commands batch --dry-run and batch --report. Returns the exit code: 1 where --report finds a job that is not done.
int run_batch_view(const Command& command);

}  // namespace wan
