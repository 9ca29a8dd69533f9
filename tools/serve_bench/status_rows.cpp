// Status calls, at our server and at a mock of the same call in Python.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/bench/child.h"
#include "tools/bench/statistics.h"
#include "tools/serve_bench/load.h"
#include "tools/serve_bench/rows.h"

namespace wan::bench {
namespace {

namespace fs = std::filesystem;

std::string count_text(double count, const char* what) {
  const auto whole = int64_t(std::llround(count));
  return std::to_string(whole) + " " + what + (whole == 1 ? "" : "s");
}

/// The calls for one job: asked by clients, idle connections and streams.
LoadOptions load_of(const ServeOptions& options, uint16_t port, const std::string& id) {
  LoadOptions load;
  load.port = port;
  load.request = request_text(port, "GET", status_path(id));
  load.stream_request = request_text(port, "GET", status_path(id) + "/stream?logs=1");
  load.clients = options.clients;
  load.idle = options.idle;
  load.streams = options.streams;
  load.seconds = options.seconds;
  load.warm_up = std::min(1.0, options.seconds / 5);
  load.check = [](const HttpAnswer& answer) -> std::string {
    if (answer.status == 202 && answer.body.find("\"IN_PROGRESS\"") != std::string::npos) return "";
    return "a status of the running job was answered " + std::to_string(answer.status) + ": " +
           answer.body.substr(0, 200);
  };
  return load;
}

ServeRow row_of(const std::string& name, const LoadOptions& load, const LoadResult& result) {
  ServeRow row{.name = name, .setting = {}};
  row.setting = count_text(load.clients, "client") +
                (load.rate > 0 ? ", " + count_text(load.rate, "call") + " a second" : "") + ", " +
                count_text(load.idle, "idle connection") + ", " + count_text(load.streams, "stream");
  row.failed = failure_of(result);
  if (row.failed.empty() && (result.idle_open < load.idle || result.streams_open < load.streams))
    row.failed = "of " + count_text(load.idle, "idle connection") + " " + std::to_string(result.idle_open) +
                 " were open at the end, and of " + count_text(load.streams, "stream") + " " +
                 std::to_string(result.streams_open);
  if (result.milliseconds.empty()) return row;
  row.figures = {{"per_second", result.per_second()},
                 {"p50_ms", quantile(result.milliseconds, 0.5)},
                 {"p99_ms", quantile(result.milliseconds, 0.99)},
                 {"most_ms", result.milliseconds.back()},
                 {"stream_messages", double(result.stream_messages)},
                 {"load_cores", result.cpu}};
  return row;
}

LoadResult run_on(int core, const LoadOptions& load) {
  const OnCore here(core);
  return run_load(load);
}

/// A load at a server, beside a worker.
ServeRow measure(const std::string& name, const Scene& scene, pid_t server, pid_t worker, const LoadOptions& load) {
  const CorePart server_part(server), worker_part(worker);
  const LoadResult result = run_on(scene.cores().load, load);
  const double server_cores = server_part.part(), worker_cores = worker_part.part();
  ServeRow row = row_of(name, load, result);
  if (!row.figures.empty()) {
    row.figures.emplace_back("server_cores", server_cores);
    row.figures.emplace_back("worker_cores", worker_cores);
  }
  return row;
}

std::string python_versions(const std::string& python) {
  const char* kAsk =
      "import fastapi, uvicorn, sys\n"
      "try:\n import uvloop\n loop = 'uvloop'\n"
      "except ImportError:\n loop = 'asyncio'\n"
      "try:\n import httptools\n parser = 'httptools'\n"
      "except ImportError:\n parser = 'h11'\n"
      "print(f'Python {sys.version.split()[0]}, fastapi {fastapi.__version__}, uvicorn {uvicorn.__version__} with "
      "{loop} and {parser}', end='')";
  const ChildResult result = run_child({python, "-c", kAsk}, /*quiet=*/true);
  return result.status == 0 ? result.out : "";
}

}  // namespace

std::string failure_of(const LoadResult& result) {
  if (result.failed > 0)
    return std::to_string(result.failed) + " requests failed; the first one: " + result.first_failure;
  return result.milliseconds.empty() ? "no request was answered within the time" : "";
}

std::vector<ServeRow> status_rows(const Scene& scene) {
  const std::unique_ptr<Program> server = scene.serve_beside_worker("status");
  const std::string id = hold_worker(server->port());
  const std::vector<pid_t> workers = children_of(server->process());
  if (workers.empty()) throw std::runtime_error("[worker] has ended");
  LoadOptions load = load_of(scene.options(), server->port(), id);
  std::vector<ServeRow> rows = {measure("status", scene, server->process(), workers.front(), load)};
  rows[0].note = "the worker computes at nice 10";
  load.rate = scene.options().rate;
  rows.push_back(measure("status at a pace", scene, server->process(), workers.front(), load));
  rows[1].note = rows[0].note + "; times begin when a call was due";
  return rows;
}

std::string why_no_mock(const ServeOptions& options) {
  if (options.python.empty()) return "no Python was named; --python python3, where fastapi and uvicorn can be imported";
  std::error_code ignored;
  if (!fs::is_regular_file(options.mock, ignored))
    return "there is no " + options.mock.string() + "; --mock FILE names it";
  return "";
}

ServeRow mock_row(const Scene& scene, const ServeRow* ours) {
  const ServeOptions& options = scene.options();
  const std::string versions = python_versions(options.python);
  if (versions.empty())
    throw std::runtime_error("[python] must import fastapi and uvicorn, and " + options.python +
                             " does not; pip install fastapi uvicorn");
  const fs::path mock = fs::absolute(options.mock);
  Program server(
      {options.python, "-m", "uvicorn", mock.stem().string() + ":app", "--app-dir", mock.parent_path().string(),
       "--host", "127.0.0.1", "--port", "0", "--no-access-log", "--timeout-keep-alive", "75"},
      scene.cores().server);
  const uint16_t port = server.port();
  // The same neighbour as ours has.
  Program worker({scene.worker().string(), "worker", "--device", "cpu"});
  const nlohmann::json job = {{"id", "1"},
                              {"fields", {{"prompt", kHold}}},
                              {"out", (scene.folder() / "mock.mp4").string()},
                              {"preview", ""},
                              {"withdrawn", false}};
  worker.tell(
      nlohmann::json{{"do", "render"}, {"batch", "1"}, {"folder", (scene.folder() / "mock").string()}, {"jobs", {job}}}
          .dump() +
      "\n");
  if (!move_process(worker.process(), scene.cores().load, 10))
    throw std::runtime_error("[worker] cannot be moved to core " + std::to_string(scene.cores().load) + " at nice 10");

  const LoadOptions load = load_of(options, port, "00000000-0000-4000-8000-000000000000");
  ServeRow row = measure("mock", scene, server.process(), worker.process(), load);
  if (ours && row.failed.empty())
    row.figures.emplace_back("wan_serve_over_mock", ours->figure("per_second") / row.figure("per_second"));
  row.note = versions;
  return row;
}

}  // namespace wan::bench
