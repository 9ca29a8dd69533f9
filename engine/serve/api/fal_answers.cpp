#include "engine/serve/api/fal_answers.h"

#include "engine/serve/api/endpoints.h"
#include "engine/serve/api/wavespeed_answers.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

std::string job_url(const std::string& base, const std::string& id) {
  return base + "/" + kFalApp + "/requests/" + id;
}

void put_urls(ordered_json& answer, const std::string& url) {
  answer["response_url"] = url;
  answer["status_url"] = url + "/status";
  answer["cancel_url"] = url + "/cancel";
}

double seconds_of(const Job& job) {
  if (job.output) return job.output->seconds;
  return job.started > 0 && job.ended > job.started ? double(job.ended - job.started) / 1000 : 0;
}

/// Beside what the vendor has, for pages that show how it goes.
ordered_json progress_json(const JobProgress& progress) {
  ordered_json json = {{"stage", progress.stage}, {"step", progress.step}, {"steps", progress.steps}};
  if (!progress.expert.empty()) json["expert"] = progress.expert;
  if (progress.seconds_left) json["seconds_left"] = *progress.seconds_left;
  return json;
}

}  // namespace

bool is_queue_host(const Exchange& exchange) {
  const std::string_view host = exchange.header("Host").value_or("");
  return host.size() > 6 && (host.substr(0, 6) == "queue." || host.substr(0, 6) == "QUEUE.");
}

std::string request_url(const Exchange& exchange, const std::string& id) {
  return job_url(exchange.base_url() + (is_queue_host(exchange) ? "" : "/queue"), id);
}

ordered_json submitted_json(const LiveJob& job, int64_t position, const std::string& url) {
  ordered_json answer = {{"status", "IN_QUEUE"}, {"request_id", job.job.id}, {"queue_position", position}};
  answer["gateway_request_id"] = job.job.id;
  put_urls(answer, url);
  return answer;
}

ordered_json logs_json(const LiveJob& job, size_t first) {
  ordered_json list = ordered_json::array();
  for (size_t i = first; i < job.logs.size(); ++i) {
    const LogEntry& entry = job.logs[i];
    list.push_back(
        {{"message", entry.message}, {"level", entry.level}, {"source", "USER"}, {"timestamp", iso_time(entry.time)}});
  }
  return list;
}

ordered_json status_json(const LiveJob& live, int64_t position, const std::string& url, const std::string& base_url,
                         const ordered_json& logs) {
  const Job& job = live.job;
  ordered_json answer;
  answer["status"] = is_ended(job.status) ? "COMPLETED" : job.status == JobStatus::Queued ? "IN_QUEUE" : "IN_PROGRESS";
  answer["request_id"] = job.id;
  put_urls(answer, url);
  if (job.status == JobStatus::Queued) {
    answer["queue_position"] = position;
    return answer;
  }
  answer["logs"] = logs;
  if (job.status == JobStatus::Running) {
    answer["progress"] = progress_json(live.progress);
    if (live.progress.preview > 0) answer["preview_url"] = base_url + "/files/previews/" + job.preview_key + ".jpg";
    return answer;
  }
  answer["endpoint"] = job.endpoint;
  answer["metrics"] = {{"inference_time", seconds_of(job)}};
  if (job.error) {
    answer["error"] = job.error->text();
    answer["error_type"] = job.error->type.empty() ? "bad_request" : job.error->type;
  }
  return answer;
}

ordered_json output_json(const Job& job, const std::string& base_url) {
  if (!job.output) return ordered_json::object();
  const JobOutput& output = *job.output;
  ordered_json answer = {{"video",
                          {{"url", base_url + "/files/outputs/" + output.file},
                           {"content_type", "video/mp4"},
                           {"file_name", output.file},
                           {"file_size", output.bytes}}}};
  const Endpoint* endpoint = find_endpoint(job.endpoint);
  if (!endpoint || !endpoint->tells_seed) return answer;
  answer["prompt"] = output.prompt;
  answer["seed"] = output.seed;
  return answer;
}

Answer result_answer(const Job& job, const std::string& base_url) {
  std::vector<Header> headers = {{"x-fal-request-id", job.id}};
  if (job.status == JobStatus::Done && job.output) return json_answer(output_json(job, base_url), 200, headers);
  const JobError error = job.error.value_or(JobError{500, "internal_error", "The job has no output"});
  ordered_json body = {{"detail", error.detail}};
  if (error.detail.is_array()) {
    headers.emplace_back("X-Fal-Retryable", "false");
    return json_answer(body, 422, headers);
  }
  body["error_type"] = error.type;
  headers.emplace_back("X-Fal-Error-Type", error.type);
  // Without it the JavaScript client asks again.
  if (error.status == 504) headers.emplace_back("X-Fal-Request-Timeout-Type", "user");
  return json_answer(body, error.status, headers);
}

Answer run_answer(const Job& job, const std::string& base_url) {
  Answer answer = result_answer(job, base_url);
  if (answer.status == 503 && job.error && job.error->type == "runner_disconnected") answer.status = 500;
  return answer;
}

std::string webhook_body(const Job& job) {
  const size_t blank = job.webhook_form.find(' ');
  const std::string base = blank == job.webhook_form.npos ? "" : job.webhook_form.substr(blank + 1);
  ordered_json body;
  if (job.webhook_form.starts_with("wavespeed")) {
    body = wavespeed_task(job, base);
  } else {
    body = {{"request_id", job.id}, {"gateway_request_id", job.id}};
    const bool good = job.status == JobStatus::Done && job.output;
    body["status"] = good ? "OK" : "ERROR";
    if (good) {
      body["payload"] = output_json(job, base);
      body["error"] = nullptr;
    } else {
      const JobError error = job.error.value_or(JobError{500, "internal_error", "The job has no output"});
      body["error"] = error.text();
      body["payload"] = {{"detail", error.detail}};
    }
  }
  return body.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace wan::serve
