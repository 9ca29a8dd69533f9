// Submits: each answer means that the job is on the disk.
#include "tools/bench/statistics.h"
#include "tools/serve_bench/load.h"
#include "tools/serve_bench/rows.h"

namespace wan::bench {

ServeRow submit_row(const Scene& scene) {
  const ServeOptions& options = scene.options();
  std::vector<std::string> ids;
  LoadResult result;
  double part = 0;
  {
    const std::unique_ptr<Program> server = scene.serve_beside_worker("submit");
    const uint16_t port = server->port();
    ids.push_back(hold_worker(port));
    LoadOptions load;
    load.port = port;
    load.request = submit_text(port, "a fox in the snow");
    load.clients = options.clients;
    load.seconds = options.seconds;
    load.warm_up = std::min(1.0, options.seconds / 5);
    load.check = [&](const HttpAnswer& answer) -> std::string {
      try {
        ids.push_back(id_in(answer));
        return "";
      } catch (const std::runtime_error& wrong) {
        return wrong.what();
      }
    };
    const CorePart server_part(server->process());
    {
      const OnCore here(scene.cores().load);
      result = run_load(load);
    }
    part = server_part.part();
    server->kill();
  }
  const std::unique_ptr<Program> again = scene.serve("submit");
  Connection connection(again->port());
  uint64_t lost = 0;
  for (const std::string& id : ids) {
    const int status = connection.ask(request_text(again->port(), "GET", status_path(id))).status;
    lost += status != 200 && status != 202;
  }
  ServeRow row{.name = "submit",
               .setting = std::to_string(options.clients) + (options.clients == 1 ? " client" : " clients")};
  row.failed = failure_of(result);
  if (!result.milliseconds.empty())
    row.figures = {{"per_second", result.per_second()},
                   {"p50_ms", quantile(result.milliseconds, 0.5)},
                   {"p99_ms", quantile(result.milliseconds, 0.99)},
                   {"most_ms", result.milliseconds.back()},
                   {"accepted", double(ids.size())},
                   {"lost_by_kill", double(lost)},
                   {"server_cores", part},
                   {"load_cores", result.cpu}};
  if (row.failed.empty() && lost > 0)
    row.failed =
        std::to_string(lost) + " of " + std::to_string(ids.size()) + " accepted jobs are not known after kill -9";
  row.note = "each accepted job was looked for after kill -9 of the server";
  return row;
}

}  // namespace wan::bench
