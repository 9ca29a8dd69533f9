// GET /health, /ready and /metrics: what watches the server asks.
#pragma once

#include <cstdint>
#include <functional>

#include "engine/serve/api/access.h"
#include "engine/serve/api/metrics.h"
#include "engine/serve/net/router.h"
#include "engine/serve/queue/jobs.h"
#include "engine/serve/work/dispatcher.h"

namespace wan::serve {

/// All of it outlives the router whose handlers use it.
struct StatusContext {
  Jobs& jobs;
  Access& access;
  Dispatcher& dispatcher;
  const Metrics& metrics;
  std::function<uint64_t()> connections;
  std::function<void(MetricText&)> more;  // families of other parts; empty: none
};

/// /health: 200 {"status":"ok"} as long as the server answers, without a key.
/// /ready: 200 {"status":"ready"} where a worker can take jobs, else 503 {"status":"not ready","reasons":[...]}, without
/// a key; what is wrong with a worker is told to callers from this machine and those with a key alone.
/// /metrics: Prometheus' text; without a key only to who calls from this machine by a loopback name and through no proxy.
void add_status_routes(Router& router, StatusContext& context);

}  // namespace wan::serve
