#include "tools/cli/batch_jobs.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "engine/job/batch_folder.h"
#include "engine/request/division.h"
#include "engine/request/params.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// A row as a report has it. Throws ordered_json::exception where it is none.
ReportRow row_of(const ordered_json& entry) {
  ReportRow row{.line = entry.at("line").get<int64_t>(),
                .task = entry.at("task").get<std::string>(),
                .out = entry.at("out").get<std::string>(),
                .seed = entry.at("seed").get<uint64_t>(),
                .state = entry.at("state").get<std::string>(),
                .seconds = entry.at("seconds").get<double>()};
  if (entry.contains("error")) row.error = entry["error"].get<std::string>();
  if (entry.contains("first")) row.first = entry["first"].get<std::string>();
  if (entry.contains("quality")) row.quality = entry["quality"];
  if (entry.contains("quality_first")) row.quality_first = entry["quality_first"];
  if (entry.contains("safety")) row.safety = entry["safety"];
  return row;
}

/// The rows of a run's report; none where it cannot be read.
std::vector<ReportRow> rows_in(const fs::path& report) {
  std::ifstream in(report);
  const ordered_json all = ordered_json::parse(in, nullptr, false);
  std::vector<ReportRow> rows;
  try {
    for (const ordered_json& entry : all.at("jobs")) rows.push_back(row_of(entry));
  } catch (const ordered_json::exception&) {  // another program's, or a newer version's
    rows.clear();
  }
  return rows;
}

bool is_done(const ReportRow& row) {
  return row.state == "done" || row.state == "kept";
}

using RowKey = std::pair<int64_t, std::string>;

struct Reported {
  ReportRow row;
  fs::file_time_type time;  // of the report
};

RowKey key_of(const ReportRow& row) {
  return {row.line, row.out};
}

/// The batch's folder, and those of its shards.
std::vector<fs::path> folders_of(const std::string& work) {
  std::vector<fs::path> folders = {work};
  for (const ShardFolder& folder : shard_folders(work)) folders.push_back(folder.path);
  return folders;
}

/// What the reports in these folders say last of each job; that a run left a job says nothing against an earlier one.
std::map<RowKey, Reported> reported_in(const std::vector<fs::path>& folders) {
  std::multimap<fs::file_time_type, fs::path> reports;  // the oldest first
  for (const fs::path& folder : folders) {
    std::error_code absent;
    const fs::file_time_type time = fs::last_write_time(folder / "report.json", absent);
    if (!absent) reports.emplace(time, folder / "report.json");
  }
  std::map<RowKey, Reported> known;
  for (const auto& [time, report] : reports)
    for (ReportRow& row : rows_in(report)) {
      const RowKey key = key_of(row);
      if (row.state != "left" || !known.contains(key)) known[key] = {std::move(row), time};
    }
  return known;
}

}  // namespace

BatchJobs batch_jobs(const Command& command, uint64_t draw) {
  std::vector<ManifestJob> all = read_manifest(command.input, {.defaults = command.fields, .draw = draw});
  BatchJobs batch;
  batch.all = all.size();
  for (const ManifestJob& job : all) batch.all_cost += double(cost_of(job.request));
  if (command.shard.is_whole()) {
    batch.jobs = std::move(all);
    batch.cost = batch.all_cost;
    return batch;
  }
  std::vector<const Request*> requests;
  for (const ManifestJob& job : all) requests.push_back(&job.request);
  const std::vector<int64_t> shards = shards_of(requests, command.shard.count);
  for (size_t i = 0; i < all.size(); ++i) {
    if (shards[i] != command.shard.index) continue;
    batch.cost += double(cost_of(all[i].request));
    batch.jobs.push_back(std::move(all[i]));
  }
  return batch;
}

std::string listing_text(const BatchJobs& batch, const Shard& shard) {
  char columns[96];
  std::string text = "  line  task         seed     share  output\n";
  for (const ManifestJob& job : batch.jobs) {
    std::snprintf(columns, sizeof columns, "%6ld  %-4s  %11llu  %6.2f %%  ", long(job.line),
                  task_name(job.request.task), (unsigned long long)job.request.seed,
                  100 * double(cost_of(job.request)) / batch.all_cost);
    text += columns + job.name + "\n";
  }
  if (shard.is_whole()) return text + std::to_string(batch.all) + " jobs\n";
  std::snprintf(columns, sizeof columns, "%zu of %zu jobs, %.2f %% of the work\n", batch.jobs.size(), batch.all,
                100 * batch.share());
  return text + "shard " + shard.text() + ": " + columns;
}

std::string listing_json(const BatchJobs& batch, const Shard& shard) {
  ordered_json json = ordered_json::object();
  if (!shard.is_whole()) json["shard"] = shard.text();
  json["jobs"] = ordered_json::array();
  for (const ManifestJob& job : batch.jobs)
    json["jobs"].push_back({{"line", job.line},
                            {"task", task_name(job.request.task)},
                            {"seed", job.request.seed},
                            {"out", job.name},
                            {"share", double(cost_of(job.request)) / batch.all_cost}});
  json["all_jobs"] = batch.all;
  json["share"] = batch.share();
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::vector<ReportRow> progress_rows(const BatchJobs& batch, const std::string& work) {
  const std::vector<fs::path> folders = folders_of(work);
  const std::map<RowKey, Reported> reported = reported_in(folders);
  std::set<std::string> finished;
  for (const fs::path& folder : folders) finished.merge(WorkFolder::finished_in(folder));
  std::vector<ReportRow> rows;
  for (const ManifestJob& job : batch.jobs) {
    ReportRow row{.line = job.line,
                  .task = task_name(job.request.task),
                  .out = job.name,
                  .seed = job.request.seed,
                  .state = "left"};
    const auto found = reported.find(key_of(row));
    const bool is_same =
        found != reported.end() && found->second.row.seed == row.seed && found->second.row.task == row.task;
    if (is_same) row = found->second.row;
    const bool is_there = fs::exists(job.request.out);
    if (is_done(row) && !is_there) row.state = "left";
    const std::string out = fs::absolute(job.request.out).lexically_normal().string();
    // What a report says of a job that failed counts, unless its video is newer: an earlier line's may lie there.
    std::error_code gone;
    const bool counts = row.state == "left" || fs::last_write_time(job.request.out, gone) > found->second.time;
    if (!is_done(row) && is_there && counts && finished.contains(out)) {
      row.state = "done";
      row.error.clear();
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

int run_batch_view(const Command& command) {
  const bool as_json = command.log_format == "json";
  const BatchJobs batch = batch_jobs(command, batch_draw(command.work));
  if (command.dry_run) {
    std::cout << (as_json ? listing_json(batch, command.shard) : listing_text(batch, command.shard)) << std::flush;
    return 0;
  }
  const std::vector<ReportRow> rows = progress_rows(batch, command.work);
  if (as_json)
    std::cout << report_json(rows).dump(2, ' ', false, ordered_json::error_handler_t::replace) << "\n" << std::flush;
  else
    std::cout << report_text(rows) << std::flush;
  return std::all_of(rows.begin(), rows.end(), is_done) ? 0 : 1;
}

}  // namespace wan
