#include "engine/serve/api/openapi.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/request/version.h"
#include "engine/serve/api/context.h"
#include "engine/serve/api/openapi_schemas.h"

namespace wan::serve {

using namespace description;

namespace {

/// What any call may be answered. `form`: the vendor's error.
void put_errors(Json& responses, const Json& form) {
  static const std::map<int, const char*> kErrors = {
      {400, "The request is not understood"},
      {401, "No key, or an unknown one"},
      {403, "Not allowed: another origin, a quota, a signature"},
      {404, "There is no such thing"},
      {405, "Another method is wanted; Allow tells which"},
      {408, "The request came too slowly"},
      {413, "The body is too large"},
      {417, "Expect is not understood"},
      {429, "Too many requests or jobs; Retry-After tells how long to wait"},
      {431, "The head of the request is too large"},
      {500, "An error of the server"},
      {501, "The request's form is not offered"},
      {503, "Not now: the disk is full, or the server is ending"},
      {505, "Another version of HTTP is wanted"}};
  for (const auto& [status, text] : kErrors)
    if (!responses.contains(std::to_string(status))) responses[std::to_string(status)] = response(text, form);
}

struct Operation {
  const char* id;
  std::string summary;
  Json responses;
  Json parameters = Json::array();
  Json body = nullptr;  // content
  bool wavespeed = false;
  bool open = false;  // needs no key
  const char* tag = "";
};

Json operation(Operation of) {
  const Json form = of.wavespeed ? any_of({schema_ref("WaveSpeedError"), schema_ref("Error")}) : schema_ref("Error");
  put_errors(of.responses, form);
  Json result = {{"operationId", of.id}, {"summary", of.summary}};
  if (*of.tag) result["tags"] = {of.tag};
  if (!of.parameters.empty()) result["parameters"] = of.parameters;
  // A file may be empty, and then no body comes.
  const bool is_file = of.body.contains("application/octet-stream");
  if (!of.body.is_null()) result["requestBody"] = {{"required", !is_file}, {"content", of.body}};
  result["responses"] = of.responses;
  if (of.open) result["security"] = Json::array();
  return result;
}

Json in_path(const char* name, const Json& schema = {{"type", "string"}}) {
  return {{"name", name}, {"in", "path"}, {"required", true}, {"schema", schema}};
}

Json in_query(const char* name, const Json& schema, const std::string& description) {
  return {{"name", name}, {"in", "query"}, {"required", false}, {"schema", schema}, {"description", description}};
}

Json in_header(const char* name, const Json& schema, const std::string& description) {
  return {{"name", name}, {"in", "header"}, {"required", false}, {"schema", schema}, {"description", description}};
}

Json submit_parameters() {
  return {in_header("X-Fal-Queue-Priority", words({"normal", "low"}), "Low ones begin when no normal ones wait."),
          in_header("X-Fal-Request-Timeout", {{"type", "number"}, {"exclusiveMinimum", 0}, {"maximum", 100000000}},
                    "Seconds within which the job must begin, else it ends with 504."),
          in_query("fal_webhook", text(), "An http(s) URL that is told when the job has ended.")};
}

Json with_request_id(Json answer) {
  answer["headers"] = {{"x-fal-request-id", {{"schema", {{"type", "string"}}}, {"description", "The job's id."}}}};
  return answer;
}

Json field_errors() {
  return response("Fields of the request, or what they name, are wrong", schema_ref("FieldErrors"));
}

Json result_responses(const Json& output) {
  return {{"200", with_request_id(response("The video", output))},
          {"422", field_errors()},
          {"504", response("The job did not begin in time", schema_ref("Error"))}};
}

void put_endpoint(Json& paths, const Endpoint& endpoint) {
  const Json body = json_content(schema_ref(schema_name(endpoint, "Input")));
  const std::string name = task_name(endpoint.task);
  if (endpoint.vendor == Vendor::WaveSpeed) {
    paths["/api/v3/" + endpoint.path]["post"] =
        operation({.id = "wavespeed_submit",
                   .summary = endpoint.summary,
                   .responses = {{"200", response("The task", schema_ref("WaveSpeedTask"))}},
                   .parameters = {in_query("webhook", text(), "An http(s) URL that is told when the task has ended.")},
                   .body = body,
                   .wavespeed = true,
                   .tag = "WaveSpeed"});
    return;
  }
  const std::string run = "run_" + name, submit = "submit_" + name;
  paths["/" + endpoint.path]["post"] =
      operation({.id = run.c_str(),
                 .summary = endpoint.summary + "; answers when it has ended",
                 .responses = result_responses(schema_ref(schema_name(endpoint, "Output"))),
                 .parameters = submit_parameters(),
                 .body = body,
                 .tag = "fal"});
  paths["/queue/" + endpoint.path]["post"] =
      operation({.id = submit.c_str(),
                 .summary = endpoint.summary + "; answers when it is in the queue",
                 .responses = {{"200", with_request_id(response("In the queue", schema_ref("QueueStatus")))},
                               {"422", field_errors()}},
                 .parameters = submit_parameters(),
                 .body = body,
                 .tag = "fal"});
}

void put_requests(Json& paths) {
  const std::string request = std::string("/queue/") + kFalApp + "/requests/{id}";
  const Json id = in_path("id"), logs = in_query("logs", words({"true", "false", "1", "0"}), "With the job's log.");
  paths[request + "/status"]["get"] =
      operation({.id = "status",
                 .summary = "Status of a job",
                 .responses = {{"200", response("Ended", schema_ref("QueueStatus"))},
                               {"202", response("In the queue or running", schema_ref("QueueStatus"))}},
                 .parameters = {id, logs},
                 .tag = "fal"});
  paths[request + "/status/stream"]["get"] =
      operation({.id = "stream",
                 .summary = "Status of a job as server-sent events, until it ends",
                 .responses = {{"200",
                                {{"description", "Each event's data is a status"},
                                 {"content", {{"text/event-stream", {{"schema", {{"type", "string"}}}}}}}}}},
                 .parameters = {id, logs},
                 .tag = "fal"});
  std::vector<Json> outputs;
  for (const Endpoint& endpoint : endpoints())
    if (endpoint.vendor == Vendor::Fal) outputs.push_back(schema_ref(schema_name(endpoint, "Output")));
  paths[request]["get"] = operation({.id = "result",
                                     .summary = "Result of a job",
                                     .responses = result_responses(any_of(outputs)),
                                     .parameters = Json::array({id}),
                                     .tag = "fal"});
  Json cancel = {{"202", response("It ends soon", schema_ref("Cancelled"))}};
  cancel["400"] = response("It has ended already", any_of({schema_ref("Cancelled"), schema_ref("Error")}));
  cancel["404"] = response("There is no such job", any_of({schema_ref("Cancelled"), schema_ref("Error")}));
  paths[request + "/cancel"]["put"] = operation(
      {.id = "cancel", .summary = "End a job", .responses = cancel, .parameters = Json::array({id}), .tag = "fal"});
}

Json any_body() {
  return {{"application/octet-stream", Json::object()}};
}

Json file_name_header() {
  return in_header("X-Fal-File-Name", text(), "What the client calls the file.");
}

void put_uploads(Json& paths) {
  const char* const tag = "Files";
  const Json access = {{"200", response("Where the file lies", schema_ref("Access"))}};
  Json part = {{"200", response("The part", schema_ref("Part"))}};
  part["200"]["headers"] = {{"ETag", {{"schema", {{"type", "string"}}}, {"description", "Of the part."}}}};
  const Json urls = {{"200", response("Where to send it", schema_ref("UploadUrls"))}, {"422", field_errors()}};
  const Json number = {{"type", "integer"}, {"minimum", 1}, {"maximum", 10000}};
  const Json list = json_content(schema_ref("Parts")), name = json_content(schema_ref("UploadName"));
  paths["/storage/auth/token"]["post"] =
      operation({.id = "token",
                 .summary = "A token for uploads",
                 .responses = {{"200", response("The token", object({"token", "token_type", "base_url", "expires_at"},
                                                                    {{"token", text()},
                                                                     {"token_type", text()},
                                                                     {"base_url", text()},
                                                                     {"expires_at", text()}}))}},
                 .tag = tag});
  paths["/files/upload"]["post"] = operation({.id = "upload",
                                              .summary = "Upload a file",
                                              .responses = access,
                                              .parameters = Json::array({file_name_header()}),
                                              .body = any_body(),
                                              .tag = tag});
  paths["/files/upload/multipart"]["post"] = operation(
      {.id = "begin_parts",
       .summary = "Begin an upload in parts",
       .responses = {{"200", response("Where the parts go", object({"access_url", "uploadId"},
                                                                   {{"access_url", text()}, {"uploadId", text()}}))}},
       .parameters = Json::array({file_name_header()}),
       .tag = tag});
  const std::string parts = "/files/uploads/{file}/multipart/{upload}";
  paths[parts + "/{number}"]["put"] =
      operation({.id = "upload_part",
                 .summary = "One part",
                 .responses = part,
                 .parameters = {in_path("file"), in_path("upload"), in_path("number", number)},
                 .body = any_body(),
                 .tag = tag});
  paths[parts + "/complete"]["post"] = operation({.id = "end_parts",
                                                  .summary = "Join the parts",
                                                  .responses = access,
                                                  .parameters = {in_path("file"), in_path("upload")},
                                                  .body = list,
                                                  .tag = tag});
  paths["/storage/upload/initiate"]["post"] =
      operation({.id = "initiate", .summary = "A URL to PUT a file to", .responses = urls, .body = name, .tag = tag});
  paths["/storage/upload/initiate-multipart"]["post"] = operation(
      {.id = "initiate_parts", .summary = "A URL to PUT parts to", .responses = urls, .body = name, .tag = tag});
  paths["/storage/put/files/uploads/{file}"]["put"] =
      operation({.id = "put",
                 .summary = "The file, to the URL that initiate gave",
                 .responses = {{"200", response("Taken", object({"file_url"}, {{"file_url", text()}}))}},
                 .parameters = Json::array({in_path("file")}),
                 .body = any_body(),
                 .open = true,
                 .tag = tag});
  const std::string signed_parts = "/storage/parts/{file}/{upload}";
  paths[signed_parts + "/{number}"]["put"] =
      operation({.id = "put_part",
                 .summary = "One part, to the URL that initiate-multipart gave",
                 .responses = part,
                 .parameters = {in_path("file"), in_path("upload"), in_path("number", number)},
                 .body = any_body(),
                 .open = true,
                 .tag = tag});
  paths[signed_parts + "/complete"]["post"] = operation({.id = "end_signed_parts",
                                                         .summary = "Join the parts",
                                                         .responses = access,
                                                         .parameters = {in_path("file"), in_path("upload")},
                                                         .body = list,
                                                         .open = true,
                                                         .tag = tag});
}

void put_wavespeed(Json& paths) {
  const Json task = {{"200", response("The task", schema_ref("WaveSpeedTask"))}};
  for (const char* path : {"/api/v3/predictions/{id}/result", "/api/v3/predictions/{id}"})
    paths[path]["get"] = operation({.id = std::string(path).ends_with("result") ? "wavespeed_result" : "wavespeed_task",
                                    .summary = "Status and result of a task",
                                    .responses = task,
                                    .parameters = Json::array({in_path("id")}),
                                    .wavespeed = true,
                                    .tag = "WaveSpeed"});
  paths["/api/v3/media/uploads"]["post"] =
      operation({.id = "wavespeed_ticket",
                 .summary = "A URL to PUT a file to",
                 .responses = {{"200", response("The URL", schema_ref("WaveSpeedUpload"))}},
                 .body = json_content(schema_ref("UploadTicket")),
                 .wavespeed = true,
                 .tag = "WaveSpeed"});
  paths["/api/v3/media/put/files/uploads/{file}"]["put"] =
      operation({.id = "wavespeed_put",
                 .summary = "The file, to the URL of the ticket",
                 .responses = {{"200", response("Taken", schema_ref("WaveSpeedDone"))}},
                 .parameters = Json::array({in_path("file")}),
                 .body = any_body(),
                 .wavespeed = true,
                 .open = true,
                 .tag = "WaveSpeed"});
}

void put_files(Json& paths) {
  const Json bytes = {{"*/*", Json::object()}};
  Json responses = {{"200", {{"description", "The file"}, {"content", bytes}}},
                    {"206", {{"description", "A part of it"}, {"content", bytes}}},
                    {"304", {{"description", "It is as the ETag says"}}}};
  responses["416"] = response("The range lies outside of the file", schema_ref("Error"));
  const Json parameters = {in_path("folder", words({"uploads", "outputs", "previews"})), in_path("file"),
                           in_header("Range", text(), "bytes=FIRST-LAST")};
  paths["/files/{folder}/{file}"]["get"] = operation({.id = "file",
                                                      .summary = "A file that was uploaded or made",
                                                      .responses = responses,
                                                      .parameters = parameters,
                                                      .open = true,
                                                      .tag = "Files"});
}

void put_server(Json& paths) {
  const char* const tag = "Server";
  const Json state = object({"status"}, {{"status", text()}});
  paths["/health"]["get"] = operation({.id = "health",
                                       .summary = "Whether the server answers",
                                       .responses = {{"200", response("It does", state)}},
                                       .open = true,
                                       .tag = tag});
  Json ready = {{"200", response("It does", state)}};
  ready["503"] = response("Not now", any_of({state, schema_ref("Error")}));
  paths["/ready"]["get"] = operation(
      {.id = "ready", .summary = "Whether a worker takes jobs", .responses = ready, .open = true, .tag = tag});
  paths["/metrics"]["get"] =
      operation({.id = "metrics",
                 .summary = "Figures for Prometheus",
                 .responses = {{"200",
                                {{"description", "Prometheus' text"},
                                 {"content", {{"text/plain", {{"schema", {{"type", "string"}}}}}}}}}},
                 .tag = tag});
  paths["/openapi.json"]["get"] = operation({.id = "openapi",
                                             .summary = "This description",
                                             .responses = {{"200", response("OpenAPI 3.1", {{"type", "object"}})}},
                                             .open = true,
                                             .tag = tag});
  const Json target = {{"name", "x-fal-target-url"},
                       {"in", "header"},
                       {"required", true},
                       {"schema", text()},
                       {"description", "The hosted URL that is meant."}};
  const Json any = {{"200", response("That of the call", Json::object())},
                    {"202", response("That of the call", Json::object())},
                    {"422", field_errors()},
                    {"504", response("The job did not begin in time", schema_ref("Error"))}};
  for (const char* method : {"get", "post", "put"})
    paths["/api/fal/proxy"][method] = operation({.id = method == std::string("get")    ? "proxy_get"
                                                       : method == std::string("post") ? "proxy_post"
                                                                                       : "proxy_put",
                                                 .summary = "A call of fal's hosts, answered here",
                                                 .responses = any,
                                                 .parameters = Json::array({target}),
                                                 .tag = "fal"});
}

}  // namespace

nlohmann::ordered_json openapi(bool wants_keys) {
  Json paths;
  for (const Endpoint& endpoint : endpoints()) put_endpoint(paths, endpoint);
  put_requests(paths);
  put_wavespeed(paths);
  put_uploads(paths);
  put_files(paths);
  put_server(paths);
  Json security = Json::array({{{"key", Json::array()}}, {{"bearer", Json::array()}}});
  if (!wants_keys) security.push_back(Json::object());
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "wan-serve"},
            {"version", version()},
            {"description", "Wan 2.2 on one's own machine, as the clients of the hosted APIs call it."}}},
          {"servers", Json::array({{{"url", "/"}}})},
          {"security", security},
          {"paths", paths},
          {"components",
           {{"securitySchemes",
             {{"key", {{"type", "apiKey"}, {"in", "header"}, {"name", "Authorization"}, {"description", "Key VALUE"}}},
              {"bearer", {{"type", "http"}, {"scheme", "bearer"}}}}},
            {"schemas", schemas()}}}};
}

void add_openapi_routes(Router& router, ApiContext& context) {
  struct Texts {
    std::string with_keys = openapi(true).dump(), open = openapi(false).dump();
  };
  const auto texts = std::make_shared<const Texts>();
  router.add("GET", "/openapi.json", [&context, texts](Exchange&, const Captures&) -> Awaitable<Answer> {
    co_return Answer{.body = context.access.wants_keys() ? texts->with_keys : texts->open};
  });
}

}  // namespace wan::serve
