// What the handlers of the APIs share, and how their routes get into a router.
#pragma once

#include "engine/serve/api/access.h"
#include "engine/serve/api/body_budget.h"
#include "engine/serve/api/files.h"
#include "engine/serve/api/job_quota.h"
#include "engine/serve/net/router.h"
#include "engine/serve/queue/jobs.h"
#include "engine/serve/settings.h"
#include "engine/serve/work/dispatcher.h"

namespace wan::serve {

/// All of it outlives the router whose handlers use it.
struct ApiContext {
  const Settings& settings;
  Jobs& jobs;
  Files& files;
  Access& access;
  Dispatcher& dispatcher;
  BodyBudget bodies{};
  bool ends = false;  // the server does: who waits for the end of a job is told so
  JobQuotas quotas = {};
};

/// GET /openapi.json.
void add_openapi_routes(Router& router, ApiContext& context);
/// GET /files/...
void add_file_routes(Router& router, ApiContext& context);
/// The uploads of both vendors' clients: tokens, one request, parts, signed URLs.
void add_upload_routes(Router& router, ApiContext& context);
/// Sync runs, queue, status, result, cancel of the fal endpoints.
void add_fal_routes(Router& router, ApiContext& context);
/// /api/v3: submit and result.
void add_wavespeed_routes(Router& router, ApiContext& context);
/// /v1/videos: OpenAI's video calls, and those of the load generator.
void add_openai_routes(Router& router, ApiContext& context);
/// /api/fal/proxy, which answers by the router's other routes.
void add_proxy_routes(Router& router, ApiContext& context);
/// All of these, in the order in which they are to be asked.
void add_api_routes(Router& router, ApiContext& context);

}  // namespace wan::serve
