#include "engine/serve/api/wavespeed_answers.h"

#include <cmath>

#include "engine/serve/api/endpoints.h"
#include "engine/serve/api/validate.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

const char* status_of(const Job& job) {
  switch (job.status) {
    case JobStatus::Queued:
      return "created";
    case JobStatus::Running:
      return "processing";
    case JobStatus::Done:
      return "completed";
    case JobStatus::Failed:
      return "failed";
    case JobStatus::Cancelled:
      return "cancelled";
  }
  return "failed";
}

/// The Python client takes "HTTP 5xx" and "HTTP 429" within it for a reason to submit the task again.
std::string error_of(const Job& job) {
  if (!job.error) return "";
  const Endpoint* endpoint = find_endpoint(job.endpoint);
  std::string text =
      job.error->detail.is_array() && endpoint ? error_text(*endpoint, job.error->detail) : job.error->text();
  for (const char* words : {"HTTP 5", "HTTP 429"})
    for (size_t at = text.find(words); at != text.npos; at = text.find(words, at)) text.replace(at, 4, "status");
  return text;
}

}  // namespace

ordered_json wavespeed_task(const Job& job, const std::string& base_url) {
  ordered_json outputs = ordered_json::array(), unsafe = ordered_json::array();
  double seconds = 0;
  if (job.output) {
    outputs.push_back(base_url + "/files/outputs/" + job.output->file);
    unsafe.push_back(job.output->is_flagged());
    seconds = job.output->seconds;
  }
  if (job.error && job.error->is_refusal()) unsafe.push_back(true);
  ordered_json task;
  task["id"] = job.id;
  task["model"] = job.endpoint;
  task["outputs"] = std::move(outputs);
  task["urls"] = {{"get", base_url + "/api/v3/predictions/" + job.id + "/result"}};
  task["has_nsfw_contents"] = std::move(unsafe);
  task["status"] = status_of(job);
  task["created_at"] = iso_time(job.created);
  task["error"] = error_of(job);
  task["timings"] = {{"inference", int64_t(std::llround(seconds * 1000))}};
  return task;
}

}  // namespace wan::serve
