#include "tools/serve_bench/serve_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace wan::bench {
namespace {

using nlohmann::ordered_json;

constexpr int kServeSchema = 1;

std::string text_of(double value) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, std::fabs(value) >= 1000 ? "%.0f" : "%.4g", value);
  return buffer;
}

}  // namespace

double ServeRow::figure(const std::string& name) const {
  for (const auto& [known, value] : figures)
    if (known == name) return value;
  throw std::out_of_range("[" + this->name + "] has no figure " + name);
}

const ServeRow* ServeReport::find(const std::string& name) const {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [&](const ServeRow& row) { return row.name == name && row.failed.empty(); });
  return found == rows.end() ? nullptr : &*found;
}

bool ServeReport::has_failed() const {
  return std::any_of(rows.begin(), rows.end(), [](const ServeRow& row) { return !row.failed.empty(); });
}

ordered_json to_json(const ServeReport& report) {
  ordered_json rows = ordered_json::array(), left_out = ordered_json::array();
  for (const ServeRow& row : report.rows) {
    ordered_json figures = ordered_json::object();
    for (const auto& [name, value] : row.figures) figures[name] = value;
    ordered_json json = {{"name", row.name}, {"setting", row.setting}, {"figures", figures}, {"note", row.note}};
    if (!row.failed.empty()) json["failed"] = row.failed;
    rows.push_back(std::move(json));
  }
  for (const auto& [name, why] : report.left_out) left_out.push_back({{"name", name}, {"why", why}});
  return {{"kind", "serve"},
          {"schema", kServeSchema},
          {"command", report.command},
          {"commit", report.commit},
          {"environment", report.environment},
          {"rows", rows},
          {"left_out", left_out}};
}

std::string table(const ServeReport& report) {
  std::string out = "| case | setting | figures | note |\n|---|---|---|---|\n";
  for (const ServeRow& row : report.rows) {
    std::string figures;
    for (const auto& [name, value] : row.figures)
      figures += (figures.empty() ? "" : ", ") + name + " " + text_of(value);
    const std::string failed = row.failed.empty() ? "" : "**failed**" + std::string(figures.empty() ? "" : ": ");
    out += "| " + row.name + " | " + row.setting + " | " + failed + figures + " | " + row.note + " |\n";
  }
  for (const ServeRow& row : report.rows)
    if (!row.failed.empty()) out += "\nfailed: " + row.name + ": " + row.failed + "\n";
  for (const auto& [name, why] : report.left_out) out += "\nleft out: " + name + ": " + why + "\n";
  return out;
}

}  // namespace wan::bench
