#include "tools/bench/report.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "models/files/json.h"
#include "tools/bench/statistics.h"

namespace wan::bench {

using nlohmann::json;

double Row::median() const {
  return summarise(milliseconds).median;
}

double Row::rate() const {
  return (flops > 0 ? flops : bytes) / (median() / 1000);
}

double Report::share(const Row& row) const {
  const auto found = ceilings.find(row.ceiling);
  return found == ceilings.end() || found->second <= 0 ? 0 : row.rate() / found->second;
}

double Report::against_library(const Row& row) const {
  double fastest = 0;
  for (const Row& other : rows) {
    if (other.ours || other.is_published() || other.name != row.name || other.shape != row.shape) continue;
    if (fastest == 0 || other.median() < fastest) fastest = other.median();
  }
  return fastest / row.median();
}

json to_json(const Report& report) {
  json rows = json::array(), left_out = json::array();
  for (const Row& row : report.rows) {
    const Summary summary = summarise(row.milliseconds);
    rows.push_back(
        {{"suite", row.suite},
         {"name", row.name},
         {"shape", row.shape},
         {"backend", row.backend},
         {"ours", row.ours},
         {"milliseconds",
          {{"median", summary.median}, {"p10", summary.p10}, {"p90", summary.p90}, {"samples", row.milliseconds}}},
         {"flops", row.flops},
         {"bytes", row.bytes},
         {"ceiling", row.ceiling},
         {"error", row.error},
         {"bound", row.bound},
         {"peak_bytes", row.peak_bytes},
         {"note", row.note}});
    if (row.is_published()) rows.back()["published"] = row.published;
  }
  for (const LeftOut& item : report.left_out)
    left_out.push_back({{"suite", item.suite},
                        {"name", item.name},
                        {"shape", item.shape},
                        {"backend", item.backend},
                        {"why", item.why}});
  return {{"schema", kSchema},           {"command", report.command},
          {"commit", report.commit},     {"environment", report.environment},
          {"ceilings", report.ceilings}, {"rows", rows},
          {"left_out", left_out}};
}

Report report_of(const json& content, const std::string& label) {
  if (!content.is_object() || content.value("schema", json()) != kSchema)
    throw std::invalid_argument("[" + label + "] must be a result of schema " + std::to_string(kSchema) +
                                "; measure again with this wan-bench");
  try {
    Report report;
    content.at("command").get_to(report.command);
    content.at("commit").get_to(report.commit);
    content.at("environment").get_to(report.environment);
    content.at("ceilings").get_to(report.ceilings);
    for (const json& row : content.at("rows")) {
      report.rows.push_back({row.at("suite"), row.at("name"), row.at("shape"), row.at("backend"), row.at("ours"),
                             row.at("milliseconds").at("samples"), row.at("flops"), row.at("bytes"), row.at("ceiling"),
                             row.at("error"), row.at("bound"), row.at("peak_bytes"), row.at("note"),
                             row.value("published", "")});
      if (report.rows.back().milliseconds.empty())
        throw std::invalid_argument("[" + label + "] has a row without samples");
    }
    for (const json& item : content.at("left_out"))
      report.left_out.push_back(
          {item.at("suite"), item.at("name"), item.at("shape"), item.at("backend"), item.at("why")});
    return report;
  } catch (const json::exception&) {
    throw std::invalid_argument("[" + label + "] is no result of wan-bench, or one of another version");
  }
}

Report parse_report(const std::string& text, const std::string& label) {
  json content;
  try {
    content = parse_json(text, {.bytes = 64 << 20, .depth = 16, .values = 2'000'000});
  } catch (const BrokenJson&) {  // report_of says what it must be
  }
  return report_of(content, label);
}

Report read_report(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw std::invalid_argument("[" + file.string() + "] cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return parse_report(text.str(), file.string());
}

void write_file(const std::filesystem::path& file, const std::string& content) {
  const std::filesystem::path part = file.string() + ".part";
  std::ofstream out(part);
  out << content;
  out.close();
  if (!out) throw std::runtime_error("[" + part.string() + "] cannot be written");
  std::filesystem::rename(part, file);
}

bool is_stand_in(const Report& report) {
  const auto gpu = report.environment.find("gpu");
  return gpu != report.environment.end() && gpu->second.starts_with("stand-in");
}

std::vector<std::string> complaints(const Report& report) {
  std::vector<std::string> found;
  if (report.commit.empty() || report.commit == "unknown") found.push_back("no commit");
  for (const char* key : {"gpu", "driver", "cuda", "torch", "clocks_before", "clocks_after"})
    if (!report.environment.count(key) || report.environment.at(key).empty())
      found.push_back(std::string("no ") + key + " in the environment");
  if (is_stand_in(report)) found.push_back("timings of a rehearsal: nothing was measured");
  if (const auto comparable = report.environment.find(kComparable);
      comparable != report.environment.end() && comparable->second != "yes")
    found.push_back("not comparable with the benchmark, " + comparable->second);
  if (const auto network = report.environment.find(kNetwork); network != report.environment.end())
    found.push_back("of a network that is " + network->second);
  const auto is_measured = [](const Row& row) { return !row.is_published(); };
  if (std::none_of(report.rows.begin(), report.rows.end(), is_measured)) found.push_back("no rows");
  for (const Row& row : report.rows) {
    // Rows of a profile are parts of one forward: their gaps may be nothing, and nobody repeats or compares them.
    if (row.is_published() || row.suite == "profile") continue;
    const bool counted = row.flops > 0 || row.bytes > 0;
    // A video of the benchmark takes minutes, and its pictures are judged by VBench.
    const bool is_video = row.suite == "mlperf";
    const std::string what = row.suite + ", " + row.name + ", " + row.shape + ", " + row.backend + ": ";
    if (!is_video && row.milliseconds.size() < 3) found.push_back(what + "fewer than 3 samples");
    if (std::any_of(row.milliseconds.begin(), row.milliseconds.end(), [](double ms) { return !(ms > 0); }))
      found.push_back(what + "a time that is not positive");
    if ((counted || !is_video) && report.share(row) <= 0)
      found.push_back(what + "its ceiling '" + row.ceiling + "' was not measured");
    if (!is_video && !(row.error >= 0)) found.push_back(what + "no error");
    if (row.error > row.bound) found.push_back(what + "an error beyond its bound");
  }
  return found;
}

}  // namespace wan::bench
