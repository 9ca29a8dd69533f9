// From the start of the process to its first answer.
#include <chrono>

#include "tools/bench/statistics.h"
#include "tools/serve_bench/rows.h"

namespace wan::bench {
namespace {

/// Milliseconds of one start, which is ended again.
double start_once(const Scene& scene, const std::string& data) {
  const std::unique_ptr<Program> server = scene.serve(data);
  const HttpAnswer answer = ask_once(server->port(), "GET", "/health");
  const auto end = std::chrono::steady_clock::now();
  if (answer.status != 200)
    throw std::runtime_error("[/health] must be answered 200, got " + std::to_string(answer.status));
  const double milliseconds = std::chrono::duration<double, std::milli>(end - server->started()).count();
  server->stop();
  return milliseconds;
}

ServeRow measure(const Scene& scene, const std::string& data, const std::string& setting) {
  std::vector<double> times;
  for (int i = 0; i < scene.options().starts; ++i) times.push_back(start_once(scene, data));
  const Summary summary = summarise(times);
  ServeRow row{.name = "start", .setting = setting};
  row.figures = {
      {"median_ms", summary.median}, {"p10_ms", summary.p10}, {"p90_ms", summary.p90}, {"runs", double(times.size())}};
  row.note = "from the start of the process to the first 200 of /health; its files are in the page cache";
  return row;
}

}  // namespace

std::vector<ServeRow> start_rows(const Scene& scene) {
  const double first = start_once(scene, "start");
  std::vector<ServeRow> rows = {measure(scene, "start", "an empty queue")};
  rows.back().figures.emplace_back("new_folder_ms", first);
  if (!scene.ended_jobs.empty())
    rows.push_back(measure(scene, scene.ended_jobs, std::to_string(scene.ended_count) + " ended jobs"));
  return rows;
}

}  // namespace wan::bench
