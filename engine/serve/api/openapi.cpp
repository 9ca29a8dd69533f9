#include "engine/serve/api/openapi.h"

#include <memory>
#include <string>

#include "engine/request/version.h"
#include "engine/serve/api/context.h"
#include "engine/serve/api/openapi_operations.h"

namespace wan::serve {

using namespace description;

namespace {

void put_server_calls(Json& paths) {
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
  for (const char* method : {"get", "post", "put", "delete", "patch"}) {
    const std::string id = std::string("proxy_") + method;
    paths["/api/fal/proxy"][method] = operation({.id = id.c_str(),
                                                 .summary = "A call of fal's hosts, answered here",
                                                 .responses = any,
                                                 .parameters = Json::array({target}),
                                                 .tag = "fal"});
  }
}

}  // namespace

nlohmann::ordered_json openapi(bool wants_keys) {
  Json paths;
  put_job_calls(paths);
  put_openai_calls(paths);
  put_file_calls(paths);
  put_server_calls(paths);
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
