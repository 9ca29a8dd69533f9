#include "engine/serve/work/batch.h"

#include <algorithm>

#include "models/files/digest.h"

namespace wan::serve {
namespace {

using nlohmann::json;

constexpr size_t kMostJobs = 64;

json fields_of(const Job& job, const Settings& settings) {
  json fields = job.fields;
  const std::string task = fields.value("task", "");
  const auto model = settings.models.find(task == "v2v" && !settings.models.contains(task) ? "t2v" : task);
  const bool has_model = fields.contains("model") || fields.contains("high_noise") || fields.contains("transformer");
  if (!has_model && model != settings.models.end()) fields["model"] = model->second;
  if (!fields.contains("precision") && !settings.precision.empty()) fields["precision"] = settings.precision;
  return fields;
}

}  // namespace

Member* Batch::find(const std::string& job) {
  for (Member& member : members)
    if (member.job->job.id == job) return &member;
  return nullptr;
}

bool Batch::has_ended() const {
  return std::all_of(members.begin(), members.end(), [](const Member& member) { return member.ended; });
}

bool Batch::is_suspect() const {
  return std::any_of(members.begin(), members.end(), [](const Member& member) {
    return !member.ended && !is_over(*member.job) && member.job->job.interruptions + 1 >= kMostInterruptions;
  });
}

bool is_over(const LiveJob& job) {
  return is_ended(job.job.status) || (job.cancelling && job.job.status == JobStatus::Queued);
}

std::vector<JobPtr> next_jobs(const std::vector<JobPtr>& waiting, const Costs& costs, std::chrono::seconds window,
                              const std::string& resident) {
  std::vector<JobPtr> chosen;
  std::string model;
  double delay = 0;
  for (const JobPtr& job : waiting) {
    if (!job->job.batch.empty() || is_over(*job)) continue;
    const std::optional<double> seconds = costs.seconds(job->job);
    if (chosen.empty()) {
      chosen.push_back(job);
      model = model_key(job->job);
      if (!seconds || model == resident || window.count() <= 0) break;
      continue;
    }
    if (model_key(job->job) != model || job->job.priority != chosen[0]->job.priority) continue;
    // Those behind one that has no room wait with it: none overtakes.
    if (!seconds || delay + *seconds > double(window.count()) || chosen.size() >= kMostJobs) break;
    delay += *seconds;
    chosen.push_back(job);
  }
  return chosen;
}

std::filesystem::path output_of(const Job& job, const std::filesystem::path& data) {
  const std::string name = sha256({"output ", job.id, " ", job.preview_key}).substr(0, 32);
  return data / "outputs" / (name + "_video.mp4");
}

WorkBatch work_of(const Batch& batch, const Settings& settings, const std::filesystem::path& data) {
  WorkBatch work{.id = batch.id, .folder = batch.folder.string(), .jobs = {}};
  for (const Member& member : batch.members) {
    const Job& job = member.job->job;
    const std::string preview =
        job.preview_key.empty() ? "" : (data / "previews" / (job.preview_key + ".jpg")).string();
    work.jobs.push_back({.id = job.id,
                         .fields = fields_of(job, settings),
                         .out = output_of(job, data).string(),
                         .preview = preview,
                         .withdrawn = member.ended || is_over(*member.job)});
  }
  return work;
}

}  // namespace wan::serve
