#include "tools/remote/answers.h"

#include "engine/base/text.h"
#include "engine/request/params.h"
#include "models/files/error.h"
#include "models/files/json.h"
#include "tools/cli/console.h"

namespace wan::remote {
namespace {

using nlohmann::json;

/// A member that is a text; empty where it is another value or absent.
std::string text_in(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<int64_t> integer_in(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  if (found->is_number_unsigned() && found->get<uint64_t>() > uint64_t(INT64_MAX)) return std::nullopt;
  return found->get<int64_t>();
}

std::optional<double> number_in(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

/// A bound of a range as the list has it.
std::string bound_in(const json& ctx, const char* name) {
  const std::optional<double> number = number_in(ctx, name);
  return number ? number_text(*number) : "";
}

/// pydantic's "'480p', '580p' or '720p'" without the quotes.
std::string unquoted(std::string text) {
  std::erase(text, '\'');
  return plain_line(text);
}

/// What a local run says of such an error; empty where the kind has no own words.
std::string local_words(const std::string& type, const json& ctx, const Parameter* parameter) {
  const auto with = [&](const char* name, const std::string& words) {
    const std::string bound = bound_in(ctx, name);
    return bound.empty() ? "" : words + bound;
  };
  if (type == "greater_than_equal") return with("ge", "must be at least ");
  if (type == "less_than_equal") return with("le", "must be at most ");
  if (type == "greater_than") return with("gt", "must be above ");
  if (type == "less_than") return with("lt", "must be below ");
  if (type == "multiple_of") return with("multiple_of", "must be a multiple of ");
  if (type == "literal_error" || type == "enum") {
    const std::string words = unquoted(text_in(ctx, "expected"));
    return words.empty() ? "" : "must be " + words;
  }
  if (type.starts_with("int_")) return "must be a whole number";
  if (type.starts_with("float_") || type == "finite_number") return "must be a number";
  if (type.starts_with("bool_")) return "must be true or false";
  if (type.starts_with("string_")) return "must be a text";
  if (type == "missing" && parameter)
    return "is required; give it with " + parameter->flag() + " " + parameter->metavar;
  return "";
}

/// The field that an error is about: the last text of ["body", "num_frames"].
std::string field_in(const json& entry) {
  const auto loc = entry.find("loc");
  if (loc == entry.end() || !loc->is_array()) return "request";
  std::string field = "request";
  for (const json& part : *loc)
    if (part.is_string() && part != "body") field = plain_line(part.get<std::string>());
  return field;
}

FieldError field_error(const json& entry) {
  const std::string field = field_in(entry), type = text_in(entry, "type");
  const json ctx = entry.value("ctx", json::object());
  const json input = entry.value("input", json());
  std::string wrong = local_words(type, ctx.is_object() ? ctx : json::object(), find_parameter(field));
  if (wrong.empty()) {
    wrong = "is refused by the server: " + plain_line(text_in(entry, "msg"));
    const bool shows = input.is_string() && !input.get_ref<const std::string&>().empty();
    return {field, wrong + (shows ? " (got " + shown_path(input.get<std::string>()) + ")" : ""), type, "", ""};
  }
  if (type != "missing") wrong += ", got " + (input.is_string() ? shown_path(input.get<std::string>()) : shown(input));
  return {field, wrong, type, "", shown(input)};
}

std::optional<Stage> stage_named(const std::string& word) {
  for (const Stage stage : {Stage::Fetch, Stage::Load, Stage::Encode, Stage::Denoise, Stage::Decode, Stage::Write})
    if (word == name(stage)) return stage;
  return std::nullopt;
}

void read_progress(const json& progress, JobView& job) {
  if (!progress.is_object()) return;
  const std::optional<Stage> stage = stage_named(text_in(progress, "stage"));
  const std::optional<int64_t> step = integer_in(progress, "step"), steps = integer_in(progress, "steps");
  job.seconds_left = number_in(progress, "seconds_left");
  if (job.seconds_left && !(*job.seconds_left >= 0 && *job.seconds_left < 1e9)) job.seconds_left.reset();
  if (!stage || !step || !steps || *step < 0 || *steps < 0) return;
  const std::string expert = text_in(progress, "expert");
  job.report = Report{.stage = *stage,
                      .step = *step,
                      .steps = *steps,
                      .expert = expert == "high" || expert == "low" ? expert : "",
                      .job = {},
                      .batch_seconds = job.seconds_left};
}

void read_logs(const json& logs, JobView& job) {
  if (!logs.is_array()) return;
  for (const json& entry : logs) {
    if (!entry.is_object()) continue;
    job.logs.push_back({.time = plain_line(text_in(entry, "timestamp")),
                        .level = plain_line(text_in(entry, "level")),
                        .message = plain_line(text_in(entry, "message"))});
  }
}

}  // namespace

json read_answer(std::string_view text) {
  try {
    return parse_json(text, {.bytes = 16 << 20, .depth = 16, .values = 1'000'000});
  } catch (const BrokenJson&) {
    return json(json::value_t::discarded);
  }
}

std::string plain_line(const std::string& text) {
  return shown_text(text, 2000);
}

std::vector<FieldError> field_errors(const json& body) {
  constexpr size_t kMost = 100;
  std::vector<FieldError> errors;
  if (!body.is_object() || !body.contains("detail") || !body["detail"].is_array()) return errors;
  for (const json& entry : body["detail"])
    if (entry.is_object() && errors.size() < kMost) errors.push_back(field_error(entry));
  return errors;
}

std::optional<JobView> read_status(const json& status) {
  if (!status.is_object()) return std::nullopt;
  JobView job;
  const std::string word = text_in(status, "status");
  if (word != "IN_QUEUE" && word != "IN_PROGRESS" && word != "COMPLETED") return std::nullopt;
  job.state = word == "IN_QUEUE" ? JobView::Queued : word == "IN_PROGRESS" ? JobView::Running : JobView::Ended;
  job.position = integer_in(status, "queue_position").value_or(0);
  if (const auto logs = status.find("logs"); logs != status.end()) read_logs(*logs, job);
  if (const auto progress = status.find("progress"); progress != status.end()) read_progress(*progress, job);
  job.preview = text_in(status, "preview_url");
  job.error = plain_line(text_in(status, "error"));
  job.error_type = plain_line(text_in(status, "error_type"));
  job.endpoint = text_in(status, "endpoint");
  if (const auto metrics = status.find("metrics"); metrics != status.end() && metrics->is_object())
    job.seconds = number_in(*metrics, "inference_time").value_or(0);
  return job;
}

std::string state_text(const JobView& job) {
  switch (job.state) {
    case JobView::Queued:
      return job.position > 0 ? "queued, " + std::to_string(job.position) + " before it" : "queued, the next";
    case JobView::Running: {
      if (!job.report) return "running";
      std::string text = std::string("running: ") + name(job.report->stage) + " " + std::to_string(job.report->step) +
                         "/" + std::to_string(job.report->steps);
      if (!job.report->expert.empty()) text += ", " + job.report->expert + " noise";
      return job.seconds_left ? text + ", " + duration(*job.seconds_left) + " left" : text;
    }
    case JobView::Ended:
      if (job.cancelled()) return "cancelled";
      if (job.failed()) return "failed: " + (job.error.empty() ? job.error_type : job.error);
      return "done in " + duration(job.seconds);
  }
  return "";
}

std::optional<VideoView> read_result(const json& result) {
  const auto video = result.find("video");
  if (video == result.end() || !video->is_object()) return std::nullopt;
  VideoView view{.url = text_in(*video, "url"), .bytes = 0, .seed = {}};
  if (view.url.empty()) return std::nullopt;
  view.bytes = uint64_t(std::max<int64_t>(integer_in(*video, "file_size").value_or(0), 0));
  if (const auto seed = result.find("seed"); seed != result.end() && seed->is_number_unsigned())
    view.seed = seed->get<uint64_t>();
  return view;
}

}  // namespace wan::remote
