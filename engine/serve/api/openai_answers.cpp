#include "engine/serve/api/openai_answers.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/request/params.h"
#include "engine/serve/api/openai_size.h"
#include "engine/serve/queue/job_json.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

constexpr double kSooner = 0.05;                    // of the time that is left until a client asks again
constexpr int64_t kSoonest = 500, kLatest = 5'000;  // ms; the packages keep the first pause that they are told
constexpr int64_t kUnknown = 1'000;                 // ms, where nobody knows how long it takes

const char* status_of(JobStatus status) {
  switch (status) {
    case JobStatus::Queued:
      return "queued";
    case JobStatus::Running:
      return "in_progress";
    case JobStatus::Done:
      return "completed";
    case JobStatus::Failed:
    case JobStatus::Cancelled:
      break;
  }
  return "failed";
}

int64_t progress_of(const LiveJob& live) {
  if (live.job.status == JobStatus::Done) return 100;
  return live.job.status == JobStatus::Running ? percent_of(live.progress) : 0;
}

/// A text of the job's fields or input; empty where it has none.
std::string text_in(const nlohmann::json& from, const char* name) {
  const auto found = from.is_object() ? from.find(name) : from.end();
  return found != from.end() && found->is_string() ? found->get<std::string>() : "";
}

/// As the client called it; of jobs that came by other calls the task.
std::string model_of(const Job& job) {
  const std::string named = text_in(job.input, "model");
  return named.empty() ? text_in(job.fields, "task") : named;
}

/// How long the video is: its frames by their rate; where its input decides, what it has become.
std::string seconds_of(const Job& job) {
  const bool is_given = job.fields.is_object() && job.fields.contains("num_frames");
  const bool is_made = job.output && job.output->video_seconds > 0;
  return number_text(!is_given && is_made ? job.output->video_seconds : video_seconds(job));
}

ordered_json error_of(const Job& job) {
  const JobError error = job.error.value_or(JobError{500, "internal_error", "The job has no output"});
  std::string code = error.type.empty() ? "invalid_request" : error.type;
  if (error.is_refusal()) code = "content_policy_violation";
  ordered_json told;
  told["code"] = code;
  told["message"] = error.text();
  return told;
}

int64_t poll_after(const LiveJob& job, const Dispatcher& dispatcher) {
  const auto forecast = dispatcher.forecast(job);
  if (!forecast || !std::isfinite(forecast->second)) return kUnknown;
  const double pause = std::clamp(forecast->second * 1000 * kSooner, double(kSoonest), double(kLatest));
  return int64_t(std::llround(pause));
}

}  // namespace

int64_t percent_of(const JobProgress& progress) {
  constexpr double kBegun = 5, kSampled = 90, kDecoded = 98;
  const double part =
      progress.steps > 0 ? std::clamp(double(progress.step) / double(progress.steps), 0.0, 1.0) : 0;
  if (progress.stage == "denoise") return int64_t(kBegun + (kSampled - kBegun) * part);
  if (progress.stage == "decode") return int64_t(kSampled + (kDecoded - kSampled) * part);
  return progress.stage == "write" ? 99 : 0;
}

ordered_json video_json(const LiveJob& live, int64_t keep) {
  const Job& job = live.job;
  const bool is_done = job.status == JobStatus::Done;
  ordered_json video;
  video["id"] = job.id;
  video["object"] = "video";
  video["model"] = model_of(job);
  video["status"] = status_of(job.status);
  video["progress"] = progress_of(live);
  video["created_at"] = job.created / 1000;
  video["completed_at"] = is_done ? ordered_json(job.ended / 1000) : ordered_json(nullptr);
  video["expires_at"] = is_done && keep > 0 ? ordered_json(job.ended / 1000 + keep) : ordered_json(nullptr);
  video["prompt"] = job.output ? job.output->prompt : text_in(job.fields, "prompt");
  video["seconds"] = seconds_of(job);
  video["size"] = size_text(job.fields);
  const std::string from = text_in(job.input, "remixed_from_video_id");
  video["remixed_from_video_id"] = from.empty() ? ordered_json(nullptr) : ordered_json(from);
  video["error"] = is_ended(job.status) && !is_done ? error_of(job) : ordered_json(nullptr);
  return video;
}

Answer video_answer(const LiveJob& job, const ApiContext& context) {
  std::vector<Header> headers;
  if (!is_ended(job.job.status))
    headers.emplace_back("openai-poll-after-ms", std::to_string(poll_after(job, context.dispatcher)));
  return json_answer(video_json(job, context.settings.keep.count()), 200, std::move(headers));
}

}  // namespace wan::serve
