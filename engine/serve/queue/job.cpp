#include "engine/serve/queue/job.h"

#include <cmath>
#include <stdexcept>

#include "engine/request/params.h"
#include "engine/serve/queue/job_json.h"

namespace wan::serve {
namespace {

using Json = nlohmann::ordered_json;

std::string in_words(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// One entry of a 422: {"loc": ["body", "prompt"], "msg": "Field required", ...}.
std::string field_line(const Json& entry) {
  if (!entry.is_object() || !entry.contains("msg")) return in_words(entry);
  std::string place;
  if (const auto loc = entry.find("loc"); loc != entry.end() && loc->is_array())
    for (size_t i = 1; i < loc->size(); ++i) place += (place.empty() ? "" : ".") + in_words((*loc)[i]);
  return (place.empty() ? "" : place + ": ") + in_words(entry["msg"]);
}

/// The field as a number, also where it is a text; `otherwise` where it is absent or no number.
double number_of(const nlohmann::json& fields, const char* name, double otherwise) {
  const auto found = fields.is_object() ? fields.find(name) : fields.end();
  if (found == fields.end()) return otherwise;
  if (found->is_number()) return found->get<double>();
  if (!found->is_string()) return otherwise;
  try {
    return std::stod(found->get<std::string>());
  } catch (const std::logic_error&) {
    return otherwise;
  }
}

Task task_of(const Job& job) {
  const auto task = job.fields.is_object() ? job.fields.find("task") : job.fields.end();
  if (task != job.fields.end() && task->is_string())
    if (const auto named = task_named(task->get<std::string>())) return *named;
  return job.endpoint.find("speech") != std::string::npos ? Task::S2V : Task::T2V;
}

double usual(const char* name, Task task) {
  const Parameter* parameter = find_parameter(name);
  const Accepts* accepts = parameter ? parameter->accepts(task) : nullptr;
  return accepts && accepts->value.is_number() ? accepts->value.get<double>() : 0;
}

}  // namespace

std::string JobError::text() const {
  if (!detail.is_array()) return in_words(detail);
  std::string line;
  for (const auto& entry : detail) line += (line.empty() ? "" : "; ") + field_line(entry);
  return line;
}

const char* status_name(JobStatus status) {
  switch (status) {
    case JobStatus::Queued:
      return "queued";
    case JobStatus::Running:
      return "running";
    case JobStatus::Done:
      return "done";
    case JobStatus::Failed:
      return "failed";
    case JobStatus::Cancelled:
      return "cancelled";
  }
  return "unknown";
}

bool JobError::is_refusal() const {
  if (!detail.is_array()) return false;
  return std::any_of(detail.begin(), detail.end(), [](const Json& entry) {
    return entry.is_object() && entry.value("type", Json()) == "content_policy_violation";
  });
}

void to_json(Json& json, const JobError& error) {
  json = {{"status", error.status}, {"type", error.type}, {"detail", error.detail}};
}

void from_json(const Json& json, JobError& error) {
  error.status = json.at("status").get<int>();
  error.type = json.at("type").get<std::string>();
  error.detail = json.at("detail");
}

void to_json(Json& json, const JobOutput& output) {
  json = {{"file", output.file},     {"bytes", output.bytes},     {"seed", output.seed},
          {"prompt", output.prompt}, {"seconds", output.seconds}, {"video_seconds", output.video_seconds}};
  if (!output.safety.is_null()) json["safety"] = output.safety;
}

void from_json(const Json& json, JobOutput& output) {
  output.file = json.at("file").get<std::string>();
  output.bytes = json.at("bytes").get<uint64_t>();
  output.seed = json.at("seed").get<uint64_t>();
  output.prompt = json.at("prompt").get<std::string>();
  output.seconds = json.at("seconds").get<double>();
  output.video_seconds = json.value("video_seconds", 0.0);
  if (const auto said = json.find("safety"); said != json.end()) output.safety = *said;
}

std::optional<std::string> priced_resolution(const Job& job) {
  const auto named = job.fields.is_object() ? job.fields.find("resolution") : job.fields.end();
  return named != job.fields.end() && named->is_string() ? std::optional(named->get<std::string>()) : std::nullopt;
}

std::optional<double> priced_frames(const Job& job) {
  const auto asked = job.fields.is_object() ? job.fields.find("num_frames") : job.fields.end();
  if (asked != job.fields.end() && asked->is_number()) return asked->get<double>();
  const double made = job.output ? job.output->video_seconds * number_of(job.fields, "frames_per_second", 16) : 0;
  return std::isfinite(made) && made > 0 ? std::optional(made) : std::nullopt;
}

double video_seconds(const Job& job) {
  const Task task = task_of(job);
  const double rate = number_of(job.fields, "frames_per_second", usual("frames_per_second", task));
  const bool given = job.fields.is_object() && job.fields.contains("num_frames");
  double seconds = number_of(job.fields, "num_frames", usual("num_frames", task)) / rate;
  if (task == Task::S2V && !given) {
    const double limit = number_of(job.fields, "max_seconds", 0);
    if (limit > 0) seconds = limit;
  }
  return std::isfinite(seconds) && seconds > 0 ? seconds : 0;
}

}  // namespace wan::serve
