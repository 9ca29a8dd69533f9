#include "engine/serve/api/openapi_schemas.h"

#include "engine/serve/api/openapi.h"

namespace wan::serve {

namespace description {

Json schema_ref(const std::string& name) {
  return {{"$ref", "#/components/schemas/" + name}};
}

Json json_content(const Json& schema) {
  return {{"application/json", {{"schema", schema}}}};
}

Json response(const std::string& text, const Json& schema) {
  return {{"description", text}, {"content", json_content(schema)}};
}

Json any_of(const std::vector<Json>& schemas) {
  return {{"anyOf", schemas}};
}

Json text(const std::string& description) {
  Json schema = {{"type", "string"}};
  if (!description.empty()) schema["description"] = description;
  return schema;
}

Json object(const std::vector<const char*>& required, Json properties) {
  Json schema = {{"type", "object"}};
  if (!required.empty()) schema["required"] = required;
  schema["properties"] = std::move(properties);
  return schema;
}

Json words(const std::vector<std::string>& choices) {
  return {{"type", "string"}, {"enum", choices}};
}

std::string schema_name(const Endpoint& endpoint, const char* what) {
  return std::string(endpoint.vendor == Vendor::WaveSpeed ? "WaveSpeed" : "Fal") + task_name(endpoint.task) + what;
}

namespace {

Json integer() {
  return {{"type", "integer"}};
}

Json list_of(const Json& item) {
  return {{"type", "array"}, {"items", item}};
}

Json field_schema(const EndpointField& field) {
  constexpr const char* kTypes[] = {"string", "integer", "number", "boolean"};
  const char* type = kTypes[int(field.kind)];
  Json schema;
  if (field.nullable)
    schema["type"] = {type, "null"};
  else
    schema["type"] = type;
  schema["description"] = field.help;
  if (!field.words.empty()) schema["enum"] = field.words;
  const auto bound = [&](double value) {
    return field.kind == EndpointField::Kind::Integer ? Json(int64_t(value)) : Json(value);
  };
  if (field.has_least()) schema["minimum"] = bound(field.range.least);
  if (field.has_most()) schema["maximum"] = bound(field.range.most);
  if (field.range.step != 1) schema["multipleOf"] = field.range.step;
  if (!field.required) schema["default"] = Json::parse(field.value.dump());
  if (!field.media.empty()) schema["x-media"] = field.media;
  return schema;
}

Json output_schema(const Endpoint& endpoint) {
  Json properties = {{"video", schema_ref("File")}};
  std::vector<const char*> required = {"video"};
  if (endpoint.tells_seed) {
    properties["prompt"] = text("The prompt that was used.");
    properties["seed"] = {{"type", "integer"}, {"description", "The seed that was used."}};
    required.push_back("seed");
  }
  return object(required, properties);
}

Json log_entry() {
  return object({"message", "level", "source", "timestamp"},
                {{"message", text()},
                 {"level", words({"STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG"})},
                 {"source", text()},
                 {"timestamp", {{"type", "string"}, {"format", "date-time"}}}});
}

Json status_schema() {
  Json logs = list_of(schema_ref("LogEntry"));
  logs["type"] = {"array", "null"};
  return object({"status", "request_id", "response_url", "status_url", "cancel_url"},
                {{"status", words({"IN_QUEUE", "IN_PROGRESS", "COMPLETED"})},
                 {"request_id", text()},
                 {"response_url", text()},
                 {"status_url", text()},
                 {"cancel_url", text()},
                 {"queue_position", integer()},
                 {"logs", logs},
                 {"metrics", object({}, {{"inference_time", {{"type", "number"}}}})},
                 {"progress", {{"type", "object"}, {"description", "Stage and step; of this server alone."}}},
                 {"preview_url", text("A small picture of what the video looks like by now; of this server alone.")},
                 {"error", text("Why there is no video.")},
                 {"error_type", text()}});
}

Json error_entry() {
  return object({"type", "loc", "msg", "input"},
                {{"type", text("missing, greater_than_equal, literal_error, file_download_error, ...")},
                 {"loc", list_of({{"type", {"string", "integer"}}})},
                 {"msg", text()},
                 {"input", {{"description", "What was sent."}}},
                 {"ctx", {{"type", "object"}, {"description", "The limits."}}}});
}

Json wavespeed_task() {
  return object({"id", "model", "outputs", "urls", "has_nsfw_contents", "status", "created_at", "error", "timings"},
                {{"id", text()},
                 {"model", text()},
                 {"outputs", list_of(text("URL of a finished video."))},
                 {"urls", object({"get"}, {{"get", text()}})},
                 {"has_nsfw_contents", list_of({{"type", "boolean"}})},
                 {"status", words({"created", "processing", "completed", "failed", "cancelled"})},
                 {"created_at", {{"type", "string"}, {"format", "date-time"}}},
                 {"error", text("Empty unless it failed.")},
                 {"timings", object({"inference"}, {{"inference", integer()}})}});
}

Json wavespeed_envelope(const Json& data) {
  return object({"code", "message", "data"}, {{"code", integer()}, {"message", text()}, {"data", data}});
}

Json wavespeed_upload() {
  const Json put = object({"method", "url", "headers", "expires_at"},
                          {{"method", text()},
                           {"url", text()},
                           {"headers", {{"type", "object"}, {"additionalProperties", {{"type", "string"}}}}},
                           {"expires_at", {{"type", "string"}, {"format", "date-time"}}}});
  return wavespeed_envelope(
      object({"type", "download_url", "filename", "size", "upload"},
             {{"type", text()}, {"download_url", text()}, {"filename", text()}, {"size", integer()}, {"upload", put}}));
}

}  // namespace

Json schemas() {
  Json all;
  for (const Endpoint& endpoint : endpoints()) {
    all[schema_name(endpoint, "Input")] = input_schema(endpoint);
    if (endpoint.vendor == Vendor::Fal) all[schema_name(endpoint, "Output")] = output_schema(endpoint);
  }
  all["File"] = object({"url"}, {{"url", text("Where the file can be fetched.")},
                                 {"content_type", text()},
                                 {"file_name", text()},
                                 {"file_size", integer()}});
  all["LogEntry"] = log_entry();
  all["QueueStatus"] = status_schema();
  all["Cancelled"] =
      object({"status"}, {{"status", words({"CANCELLATION_REQUESTED", "ALREADY_COMPLETED", "NOT_FOUND"})}});
  all["Error"] = object({"detail"}, {{"detail", text()}, {"error_type", text()}});
  all["FieldErrors"] = object({"detail"}, {{"detail", list_of(error_entry())}});
  all["WaveSpeedTask"] = wavespeed_envelope(wavespeed_task());
  all["WaveSpeedUpload"] = wavespeed_upload();
  all["WaveSpeedDone"] = object({"code", "message"}, {{"code", integer()}, {"message", text()}});
  all["WaveSpeedError"] = object({"code", "message"}, {{"code", integer()}, {"message", text()}});
  all["Access"] = object({"access_url"}, {{"access_url", text()}});
  all["Part"] = object({"partNumber", "etag"},
                       {{"partNumber", {{"type", "integer"}, {"minimum", 1}, {"maximum", 10000}}}, {"etag", text()}});
  all["Parts"] = object({"parts"}, {{"parts", list_of(schema_ref("Part"))}});
  const Json maybe_text = {{"type", {"string", "null"}}}, size = {{"type", {"integer", "null"}}, {"minimum", 0}};
  all["UploadName"] = object({}, {{"file_name", maybe_text}, {"content_type", maybe_text}});
  all["UploadTicket"] = object({}, {{"filename", maybe_text}, {"size", size}, {"content_type", maybe_text}});
  all["UploadUrls"] = object({"file_url", "upload_url"}, {{"file_url", text()}, {"upload_url", text()}});
  put_openai_schemas(all);
  return all;
}

}  // namespace description

nlohmann::ordered_json input_schema(const Endpoint& endpoint) {
  using namespace description;
  Json properties = Json::object();
  std::vector<const char*> required;
  for (const EndpointField& field : endpoint.fields) {
    properties[field.name] = field_schema(field);
    if (field.required) required.push_back(field.name.c_str());
  }
  if (endpoint.vendor == Vendor::WaveSpeed)
    properties[kWaveSpeedWebhookField] = {
        {"type", {"string", "null"}},
        {"description", "An http(s) URL that is told when the task has ended, where the query names none."}};
  Json schema = object(required, std::move(properties));
  schema["title"] = endpoint.path;
  return schema;
}

}  // namespace wan::serve
