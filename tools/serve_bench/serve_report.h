// What `wan-bench serve` leaves: rows of figures, as JSON and as a table.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace wan::bench {

/// One thing that was measured. The names of figures say their units: p99_ms, rss_mb, per_second.
struct ServeRow {
  std::string name;     // "status"
  std::string setting;  // under which it was measured
  std::vector<std::pair<std::string, double>> figures = {};
  std::string note = {};
  std::string failed = {};  // why its figures are none, or do not count; empty: they do

  /// Throws std::out_of_range where there is no such figure.
  double figure(const std::string& name) const;
};

struct ServeReport {
  std::string command, commit;
  std::map<std::string, std::string> environment;
  std::vector<ServeRow> rows;
  std::vector<std::pair<std::string, std::string>> left_out;  // what was not measured, and why

  /// Null where no row of that name counts.
  const ServeRow* find(const std::string& name) const;
  bool has_failed() const;
};

nlohmann::ordered_json to_json(const ServeReport& report);
/// A Markdown table of the rows; what failed and what was left out below it.
std::string table(const ServeReport& report);

}  // namespace wan::bench
