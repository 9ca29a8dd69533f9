#include "tools/cli/batch_output.h"

#include "engine/request/params.h"
#include "models/files/error.h"
#include "tools/cli/batch_report.h"

namespace wan {
namespace {

const char* word(JobState state) {
  switch (state) {
    case JobState::Done:
      return "done";
    case JobState::Kept:
      return "kept";
    case JobState::Failed:
      return "failed";
    case JobState::Left:
      return "left";
  }
  return "";
}

nlohmann::ordered_json json_of(const std::optional<QualityNumbers>& quality) {
  return quality ? to_json(*quality) : nlohmann::ordered_json();
}

std::vector<ReportRow> rows_of(const RunResult& result) {
  std::vector<ReportRow> rows;
  for (const JobResult& job : result.jobs)
    rows.push_back({.line = job.line,
                    .task = task_name(job.request.task),
                    .out = job.name,
                    .seed = job.request.seed,
                    .state = word(job.state),
                    .seconds = job.seconds,
                    .error = job.error,
                    .quality = json_of(job.quality),
                    .quality_first = json_of(job.quality_first),
                    .first = job.first.empty() ? "" : shown_name(job.first),
                    .safety = job.safety.is_there() ? to_json(job.safety) : nlohmann::ordered_json()});
  return rows;
}

}  // namespace

std::string to_text(const RunResult& result) {
  return report_text(rows_of(result), std::to_string(result.expert_loads) + " expert loads");
}

nlohmann::ordered_json to_json(const RunResult& result) {
  nlohmann::ordered_json json = report_json(rows_of(result));
  json["cancelled"] = result.cancelled;
  json["prompts_encoded"] = result.prompts_encoded;
  json["inputs_encoded"] = result.inputs_encoded;
  json["expert_loads"] = result.expert_loads;
  return json;
}

void write_report(const std::string& path, const RunResult& result, const std::string& shard) {
  nlohmann::ordered_json report = to_json(result);
  if (!shard.empty()) report["shard"] = shard;
  write_report(path, report);
}

}  // namespace wan
