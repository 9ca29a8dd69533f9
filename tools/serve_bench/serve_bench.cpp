#include "tools/serve_bench/serve_bench.h"

#include <algorithm>
#include <stdexcept>

#include "tools/serve_bench/rows.h"

namespace wan::bench {
namespace {

std::vector<ServeRow> rows_of(const std::string& name, Scene& scene, const ServeReport& report) {
  if (name == "status") return status_rows(scene);
  if (name == "submit") return {submit_row(scene)};
  if (name == "memory") return {memory_row(scene)};
  if (name == "start") return start_rows(scene);
  if (name == "upload") return {upload_row(scene)};
  return {mock_row(scene, report.find("status"))};
}

void check(const ServeOptions& options) {
  for (const std::string& name : options.rows)
    if (std::find(serve_rows().begin(), serve_rows().end(), name) == serve_rows().end())
      throw std::invalid_argument("[rows] must be status, submit, memory, start, upload or mock, got " + name);
  if (options.data.empty())
    throw std::invalid_argument("[data] is missing: a folder on the disk that is measured, --data DIR");
  const auto is_above = [](double value, const char* name) {
    if (!(value > 0)) throw std::invalid_argument(std::string("[") + name + "] must be above 0");
  };
  is_above(options.seconds, "seconds");
  is_above(options.clients, "clients");
  is_above(options.rate, "rate");
  is_above(options.jobs, "jobs");
  is_above(options.starts, "starts");
  if (options.idle < 0 || options.streams < 0) throw std::invalid_argument("[idle, streams] must be 0 or above");
  if (options.upload < (1 << 20)) throw std::invalid_argument("[size] must be 1MiB or above");
}

}  // namespace

const std::vector<std::string>& serve_rows() {
  static const std::vector<std::string> names = {"status", "submit", "memory", "start", "upload", "mock"};
  return names;
}

ServeReport serve_bench(const ServeOptions& options, const std::function<void(const ServeReport&)>& after_row) {
  check(options);
  Scene scene(options);
  ServeReport report{.command = options.command,
                     .commit = options.commit,
                     .environment = serve_environment(scene),
                     .rows = {},
                     .left_out = {}};
  for (const std::string& name : serve_rows()) {
    const bool is_wanted =
        options.rows.empty() || std::find(options.rows.begin(), options.rows.end(), name) != options.rows.end();
    if (!is_wanted) continue;
    const std::string absent = name == "mock" ? why_no_mock(options) : "";
    if (!absent.empty()) {
      report.left_out.emplace_back(name, absent);
    } else {
      std::vector<ServeRow> rows;
      try {
        rows = rows_of(name, scene, report);
      } catch (const std::exception& error) {
        rows.push_back({.name = name, .setting = "", .failed = error.what()});
      }
      const std::string end = scene.take_server_end();
      for (ServeRow& row : rows) {
        if (!row.failed.empty() && !end.empty() && row.failed.find(end) == row.failed.npos) row.failed += "; " + end;
        report.rows.push_back(std::move(row));
      }
    }
    if (after_row) after_row(report);
  }
  return report;
}

}  // namespace wan::bench
