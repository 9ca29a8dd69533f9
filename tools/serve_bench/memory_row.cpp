// Memory of a server whose jobs have ended.
#include <chrono>
#include <cstdlib>
#include <thread>

#include "tools/serve_bench/load.h"
#include "tools/serve_bench/rows.h"

namespace wan::bench {
namespace {

/// A number of /metrics; 0 where it is absent.
double metric(const std::string& text, const std::string& name) {
  const size_t at = text.find("\n" + name + " ");
  return at == text.npos ? 0 : std::strtod(text.c_str() + at + name.size() + 2, nullptr);
}

struct Ended {
  double done = 0, failed = 0;
};

Ended ended_jobs(uint16_t port) {
  const std::string text = ask_once(port, "GET", "/metrics").body;
  return {metric(text, "wan_jobs_ended_total{status=\"done\"}"),
          metric(text, "wan_jobs_ended_total{status=\"failed\"}")};
}

/// Until all have ended. Throws std::runtime_error where none does for a minute, or one fails.
void wait_for_jobs(uint16_t port, int jobs) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point last = Clock::now();
  for (double before = -1;;) {
    const Ended now = ended_jobs(port);
    if (now.failed > 0)
      throw std::runtime_error("[jobs] must all be done, and some failed; does --worker render nothing?");
    if (int(now.done) >= jobs) return;
    if (now.done > before) before = now.done, last = Clock::now();
    if (Clock::now() - last > std::chrono::minutes(1))
      throw std::runtime_error("[jobs] " + std::to_string(int(now.done)) + " of " + std::to_string(jobs) +
                               " have ended, and none within the last minute");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace

ServeRow memory_row(Scene& scene) {
  const int jobs = scene.options().jobs;
  ServeRow row{.name = "memory", .setting = std::to_string(jobs) + " ended jobs"};
  const std::unique_ptr<Program> server = scene.serve("ended");
  const uint16_t port = server->port();
  wait_for(port, "/ready");
  const double empty = resident_mb(server->process());
  LoadOptions load;
  load.port = port;
  load.request = submit_text(port, "a fox in the snow");
  load.clients = std::min(scene.options().clients, jobs);
  load.seconds = 3600;
  load.requests = uint64_t(jobs);
  load.check = [](const HttpAnswer& answer) -> std::string {
    return answer.status == 200
               ? ""
               : "a submit was answered " + std::to_string(answer.status) + ": " + answer.body.substr(0, 200);
  };
  const auto begin = std::chrono::steady_clock::now();
  if (const LoadResult result = run_load(load); result.failed > 0) throw std::runtime_error(failure_of(result));
  wait_for_jobs(port, jobs);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  row.figures = {{"rss_mb", resident_mb(server->process())},
                 {"peak_rss_mb", peak_mb(server->process())},
                 {"rss_empty_mb", empty},
                 {"jobs_per_second", jobs / seconds}};
  server->stop();
  const std::unique_ptr<Program> again = scene.serve("ended");
  wait_for(again->port(), "/ready");
  row.figures.emplace_back("rss_started_again_mb", resident_mb(again->process()));
  again->stop();
  scene.ended_jobs = "ended";
  scene.ended_count = jobs;
  row.note = "VmRSS; jobs_per_second from the first submit to the last end, with a worker that renders nothing";
  return row;
}

}  // namespace wan::bench
