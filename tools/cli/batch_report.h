// The report of a batch, for people and for programs; wherever it was rendered.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace wan {

struct ReportRow {
  int64_t line = 0;       // of the manifest
  std::string task, out;  // out: as people read it
  uint64_t seed = 0;
  std::string state;  // done | kept | failed | left
  double seconds = 0;
  std::string error = {};  // of a failed one; may have several lines
  /// Of its video (to_json of engine/request/quality.h); null where it was not looked at. Where it was rendered once
  /// more also those of the first video, and where that lies, as people read it.
  nlohmann::ordered_json quality = nullptr, quality_first = nullptr;
  std::string first = {};
  nlohmann::ordered_json safety = {};  // what was said of it (engine/request/safety.h); null: nothing
};

/// A line for each job (line of the manifest, state, seconds, output; its error, and what was found in its video, below
/// it), and one with the sums, which ends with `behind`: "3 jobs: 2 done, 1 failed, 1 with findings, 4 expert loads".
std::string report_text(const std::vector<ReportRow>& rows, const std::string& behind = {});

/// {"jobs": [{"line", "task", "seed", "out", "state", "seconds", "error", "quality", "quality_first", "first", "safety"}],
/// "done", "kept", "failed", "left", "with_findings"}.
nlohmann::ordered_json report_json(const std::vector<ReportRow>& rows);

/// Writes a report to `path`, whole or not at all. Throws std::runtime_error where the disk refuses.
void write_report(const std::string& path, const nlohmann::ordered_json& report);

}  // namespace wan
