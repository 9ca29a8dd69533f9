// The calls that make videos: submits, sync runs, status, results, cancelling.
#include <vector>

#include "engine/serve/api/openapi_operations.h"

namespace wan::serve::description {
namespace {

Json submit_parameters() {
  return {in_header("X-Fal-Queue-Priority", words({"normal", "low"}), "Low ones begin when no normal ones wait."),
          in_header("X-Fal-Request-Timeout", {{"type", "number"}, {"exclusiveMinimum", 0}, {"maximum", 100000000}},
                    "Seconds within which the job must begin, else it ends with 504."),
          in_query(kFalWebhook, text(), "An http(s) URL that is told when the job has ended.")};
}

Json with_request_id(Json answer) {
  answer["headers"] = {{"x-fal-request-id", {{"schema", {{"type", "string"}}}, {"description", "The job's id."}}}};
  return answer;
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
    paths["/api/v3/" + endpoint.path]["post"] = operation(
        {.id = "wavespeed_submit",
         .summary = endpoint.summary,
         .responses = {{"200", response("The task", schema_ref("WaveSpeedTask"))}},
         .parameters = {in_query(kWaveSpeedWebhook, text(), "An http(s) URL that is told when the task has ended.")},
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
  const std::string request = std::string("/queue/").append(kFalApp).append("/requests/{id}");
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

void put_tasks(Json& paths) {
  const Json task = {{"200", response("The task", schema_ref("WaveSpeedTask"))}};
  for (const char* path : {"/api/v3/predictions/{id}/result", "/api/v3/predictions/{id}"})
    paths[path]["get"] = operation({.id = std::string(path).ends_with("result") ? "wavespeed_result" : "wavespeed_task",
                                    .summary = "Status and result of a task",
                                    .responses = task,
                                    .parameters = Json::array({in_path("id")}),
                                    .wavespeed = true,
                                    .tag = "WaveSpeed"});
}

}  // namespace

void put_job_calls(Json& paths) {
  for (const Endpoint& endpoint : endpoints()) put_endpoint(paths, endpoint);
  put_requests(paths);
  put_tasks(paths);
}

}  // namespace wan::serve::description
