#include "engine/serve/work/job_error.h"

#include <charconv>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "engine/request/params.h"
#include "engine/request/safety.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

/// What the hosted APIs call an error, and the limit that it names.
struct Kind {
  std::string type;
  ordered_json ctx = nullptr;
};

bool has(std::string_view text, std::initializer_list<const char*> parts) {
  for (const char* part : parts)
    if (text.find(part) != text.npos) return true;
  return false;
}

/// {name: number}, the number that stands behind `words`; null where none does.
ordered_json limit(const char* name, std::string_view text, std::string_view words, double unit = 1) {
  const size_t at = text.find(words);
  if (at == text.npos) return nullptr;
  const std::string_view rest = text.substr(at + words.size());
  int64_t number = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), number).ec != std::errc()) return nullptr;
  if (unit == 1) return {{name, number}};
  return {{name, double(number) * unit}};
}

Kind download_kind(std::string_view wrong) {
  if (has(wrong, {"bytes, at most"})) return {"file_too_large", limit("max_size", wrong, "bytes, at most ")};
  return {"file_download_error"};
}

Kind image_kind(std::string_view wrong) {
  if (has(wrong, {"bytes, at most"})) return {"file_too_large", limit("max_size", wrong, "bytes, at most ")};
  if (has(wrong, {"pixels, at most"})) return {"image_too_large", limit("max_pixels", wrong, "pixels, at most ")};
  if (has(wrong, {"must have a shape that fits"})) return {"image_too_small"};
  if (has(wrong, {"damaged", "truncated", "is empty", "cut"})) return {"image_load_error"};
  if (has(wrong, {"by its first bytes", "save it as PNG", "v2v takes videos", "is built without", "a TIFF whose"}))
    return {"unsupported_image_format"};
  return {"image_load_error"};
}

Kind video_kind(std::string_view wrong) {
  if (has(wrong, {"bytes, at most"})) return {"file_too_large", limit("max_size", wrong, "bytes, at most ")};
  return {"unsupported_video_format"};
}

Kind audio_kind(std::string_view wrong) {
  if (has(wrong, {"bytes, at most"})) return {"file_too_large", limit("max_size", wrong, "bytes, at most ")};
  if (has(wrong, {"lasts more than "}))
    return {"audio_duration_too_long", limit("max_duration", wrong, "lasts more than ")};
  if (has(wrong, {"must last at least "}))
    return {"audio_duration_too_short", limit("min_duration", wrong, "must last at least ", 1e-3)};
  return {"unsupported_audio_format"};
}

Kind kind_of(const FieldError& error, const std::string& field) {
  const std::string_view wrong = error.wrong;
  if (error.type != "value_error" && !error.type.empty()) return {error.type};
  const bool fetched = has(wrong, {"must be a URL that can be read", "must be a data URL that can be read"});
  const bool absent = has(wrong, {"there is no file", "cannot be read: "});
  if (field == "num_frames" && has(wrong, {"the frames that "}))
    return {"video_duration_too_short", limit("max_frames", wrong, "must be at most ")};
  const Parameter* parameter = find_parameter(field);
  if (!parameter || !parameter->media) return {"value_error"};
  if (fetched || absent) return download_kind(wrong);
  if (field == "audio_url") return audio_kind(wrong);
  return field == "video_url" || field == "pose_video_url" ? video_kind(wrong) : image_kind(wrong);
}

/// Whether a client may have written it: not the output, the model and the machine.
bool is_clients(const std::string& field) {
  const Parameter* parameter = find_parameter(field);
  if (!parameter) return false;
  const std::string group = parameter->group;
  return field != "out" && field != "metadata" && group != "Run" && group != "LoRA" &&
         ((group != "Safety" && group != "Prompt expansion") || field.starts_with("enable_"));
}

ordered_json entry(const FieldError& error) {
  // The sound of the source video, which no client has a field for.
  const std::string field = error.field == "keep_audio" ? "video_url" : error.field;
  Kind kind = kind_of(error, field);
  ordered_json result;
  result["type"] = kind.type;
  result["loc"] = {"body", field};
  result["msg"] = kind.type == "file_download_error" ? "Failed to download the file: " + error.wrong : error.wrong;
  result["input"] = error.input.empty() ? ordered_json(nullptr) : ordered_json(error.input);
  if (!kind.ctx.is_null()) result["ctx"] = std::move(kind.ctx);
  return result;
}

/// What a client is told of a failure that it can do nothing about.
std::string short_text(const std::string& kind, const std::vector<FieldError>& errors, const std::string& text) {
  std::string told = "The server failed at this job";
  if (kind == "model") told = "The server's model cannot be used";
  if (has(text, {"out of memory"})) told = "The server has too little memory for this job";
  if (kind == "request") {
    told = "The server is not set up for this job";
    std::string fields;
    for (const FieldError& error : errors) fields += (fields.empty() ? "" : ", ") + error.field;
    if (!fields.empty()) told += " (" + fields + ")";
  }
  return told + "; its log says why";
}

/// Of a video that was refused, and of what a language server made of the prompt, the prompt is named, which every
/// endpoint has.
JobError refused_error(const std::vector<FieldError>& errors) {
  ordered_json list = ordered_json::array();
  for (const FieldError& error : errors) {
    const bool output = error.field == "out";
    ordered_json entry;
    entry["type"] = "content_policy_violation";
    entry["loc"] = {"body", output || error.field == kExpandedField ? "prompt" : error.field};
    entry["msg"] = (output ? "The video " : "The input ") + error.wrong;
    entry["input"] = nullptr;
    list.push_back(std::move(entry));
  }
  return {.status = 422, .type = "", .detail = std::move(list)};
}

}  // namespace

JobError job_error(const std::string& kind, const std::vector<FieldError>& errors, const std::string& text) {
  if (kind == "cancelled") return cancelled_error();
  if (kind == "refused") return refused_error(errors);
  JobError result{.status = 500, .type = "runner_server_error", .detail = short_text(kind, errors, text)};
  if (kind != "request") return result;
  ordered_json list = ordered_json::array();
  for (const FieldError& error : errors)
    if (is_clients(error.field)) list.push_back(entry(error));
  if (list.empty()) return result;
  return {.status = 422, .type = "", .detail = std::move(list)};
}

JobError cancelled_error() {
  return {.status = 400, .type = "client_cancelled", .detail = "Request cancelled by the client"};
}

JobError start_timeout_error() {
  return {.status = 504,
          .type = "request_timeout",
          .detail = "The request did not start within the time that X-Fal-Request-Timeout allows"};
}

}  // namespace wan::serve
