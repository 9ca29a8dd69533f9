#include "engine/serve/api/status_pages.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <vector>

namespace wan::serve {
namespace {

/// Whether the caller sits at this machine: a proxy on it has a loopback address, too, and tells whom it stands for.
bool is_local(const Exchange& exchange) {
  if (!exchange.peer_is_loopback()) return false;
  for (const char* header : {"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"})
    if (exchange.header(header)) return false;
  const std::string host(exchange.header("Host").value_or(""));
  return host.starts_with("localhost") || host.starts_with("127.") || host.starts_with("[::1]");
}

const char* words(const WorkerState& worker) {
  switch (worker.state) {
    case WorkerState::Starting:
      return "starting";
    case WorkerState::Idle:
      return "idle";
    case WorkerState::Working:
      return "working";
    case WorkerState::Held:
      return "held";
    case WorkerState::Waiting:
      return "waiting";
    case WorkerState::Broken:
      return "broken";
  }
  return "unknown";
}

bool can_work(const WorkerState& worker) {
  return worker.state == WorkerState::Idle || worker.state == WorkerState::Working;
}

bool may_see_details(StatusContext& context, const Exchange& exchange) {
  if (!context.access.wants_keys() || is_local(exchange)) return true;
  try {
    context.access.caller(exchange);
    return true;
  } catch (const HttpError&) {
    return false;
  }
}

Answer ready(StatusContext& context, const Exchange& exchange) {
  const std::vector<WorkerState> workers = context.dispatcher.workers();
  const bool works = std::any_of(workers.begin(), workers.end(), can_work);
  if (works && context.dispatcher.paused().empty()) return json_answer({{"status", "ready"}});
  const bool details = may_see_details(context, exchange);
  nlohmann::ordered_json reasons = nlohmann::ordered_json::array();
  if (!context.dispatcher.paused().empty()) reasons.push_back("no job is begun: " + context.dispatcher.paused());
  for (const WorkerState& worker : workers) {
    if (can_work(worker)) continue;
    const char* state = worker.state == WorkerState::Starting  ? " is starting"
                        : worker.state == WorkerState::Held    ? " waits for the work folder of its job"
                        : worker.state == WorkerState::Waiting ? " ended and is about to be started again"
                                                               : " does not work";
    reasons.push_back("the worker of " + worker.device + state +
                      (details && !worker.trouble.empty() ? ": " + worker.trouble : ""));
  }
  if (workers.empty()) reasons.push_back("there is no worker yet");
  return json_answer({{"status", "not ready"}, {"reasons", reasons}}, 503, {{"Retry-After", "5"}});
}

/// Bytes of memory that are this process's; 0 where the system does not tell.
uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t all = 0, resident = 0;
  in >> all >> resident;
  return in ? resident * uint64_t(sysconf(_SC_PAGESIZE)) : 0;
}

uint64_t open_files() {
  DIR* folder = opendir("/proc/self/fd");
  if (!folder) return 0;
  uint64_t count = 0;
  while (readdir(folder)) ++count;
  closedir(folder);
  return count > 3 ? count - 3 : 0;  // ".", ".." and the folder itself
}

void write_jobs(MetricText& out, StatusContext& context) {
  uint64_t queued = 0, running = 0, low = 0;
  int64_t oldest = 0;
  for (const JobPtr& job : context.jobs.unfinished()) {
    if (job->job.status == JobStatus::Running) {
      ++running;
      continue;
    }
    ++(job->job.priority == Priority::Low ? low : queued);
    if (oldest == 0 || job->job.created < oldest) oldest = job->job.created;
  }
  out.family("wan_jobs", "gauge", "Jobs that have not ended, by state and priority.");
  out.value("wan_jobs", double(queued), {{"state", "queued"}, {"priority", "normal"}});
  out.value("wan_jobs", double(low), {{"state", "queued"}, {"priority", "low"}});
  out.value("wan_jobs", double(running), {{"state", "running"}, {"priority", "any"}});
  const int64_t now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  out.family("wan_oldest_queued_seconds", "gauge", "Age of the oldest queued job; 0 without one.");
  out.value("wan_oldest_queued_seconds", oldest == 0 ? 0 : std::max(0.0, double(now - oldest) / 1000));
  out.family("wan_queue_paused", "gauge", "1 while no job is begun: the disk is full, or the database damaged.");
  out.value("wan_queue_paused", context.dispatcher.paused().empty() ? 0 : 1);

  const Metrics& metrics = context.metrics;
  out.family("wan_jobs_ended_total", "counter", "Jobs that have ended since the server began.");
  for (const char* status : {"done", "failed", "cancelled"}) {
    const auto found = metrics.ended.find(status);
    out.value("wan_jobs_ended_total", found == metrics.ended.end() ? 0 : double(found->second), {{"status", status}});
  }
  out.family("wan_job_failures_total", "counter", "Jobs that have failed, by error_type.");
  for (const auto& [type, count] : metrics.failures)
    out.value("wan_job_failures_total", double(count), {{"type", type}});
  out.family("wan_job_wait_seconds", "histogram", "From submit to begin, of ended jobs.");
  out.lines(metrics.waits.text("wan_job_wait_seconds"));
  out.family("wan_job_work_seconds", "histogram", "From begin to end, of jobs with a video.");
  out.lines(metrics.work.text("wan_job_work_seconds"));
}

void write_workers(MetricText& out, const std::vector<WorkerState>& workers) {
  out.family("wan_worker_state", "gauge", "1 at the state that a worker is in.");
  for (const WorkerState& worker : workers)
    for (const char* state : {"starting", "idle", "working", "held", "waiting", "broken"})
      out.value("wan_worker_state", std::string(state) == words(worker),
                {{"device", worker.device}, {"name", worker.name}, {"state", state}});
  out.family("wan_worker_deaths_total", "counter", "How often a worker ended by itself.");
  for (const WorkerState& worker : workers)
    out.value("wan_worker_deaths_total", double(worker.deaths), {{"device", worker.device}});
  out.family("wan_worker_device_bytes", "gauge", "Memory of the device that a worker holds.");
  for (const WorkerState& worker : workers)
    out.value("wan_worker_device_bytes", double(worker.device_bytes), {{"device", worker.device}});
  out.family("wan_stage_seconds", "counter", "Seconds that a worker has spent in each stage since it was started.");
  for (const WorkerState& worker : workers)
    for (const auto& [stage, seconds] : worker.stage_seconds)
      out.value("wan_stage_seconds", seconds, {{"device", worker.device}, {"stage", stage}});
}

void write_server(MetricText& out, StatusContext& context) {
  out.family("wan_http_answers_total", "counter", "Answers by HTTP status.");
  for (const auto& [status, count] : context.metrics.answers)
    out.value("wan_http_answers_total", double(count), {{"status", std::to_string(status)}});
  out.family("wan_http_connections", "gauge", "Open connections.");
  out.value("wan_http_connections", double(context.connections()));
  out.family("wan_uptime_seconds", "gauge", "Since the server began.");
  out.value("wan_uptime_seconds",
            std::chrono::duration<double>(std::chrono::steady_clock::now() - context.metrics.begun).count());
  out.family("process_resident_memory_bytes", "gauge", "Memory of the server's process.");
  out.value("process_resident_memory_bytes", double(resident_bytes()));
  out.family("process_open_fds", "gauge", "Open files and sockets of the server's process.");
  out.value("process_open_fds", double(open_files()));
}

}  // namespace

void add_status_routes(Router& router, StatusContext& context) {
  router.add("GET", "/health", [](Exchange&, const Captures&) -> Awaitable<Answer> {
    co_return json_answer({{"status", "ok"}});
  });
  router.add("GET", "/ready", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    co_return ready(context, exchange);
  });
  router.add("GET", "/metrics", [&context](Exchange& exchange, const Captures&) -> Awaitable<Answer> {
    if (context.access.wants_keys() && !is_local(exchange)) context.access.caller(exchange);
    MetricText out;
    write_jobs(out, context);
    write_workers(out, context.dispatcher.workers());
    write_server(out, context);
    if (context.more) context.more(out);
    Answer answer{.body = out.text(), .type = "text/plain; version=0.0.4; charset=utf-8"};
    answer.headers.emplace_back("Cache-Control", "no-store");
    co_return answer;
  });
}

}  // namespace wan::serve
