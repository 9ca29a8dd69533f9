#include "tools/cli/batch_report.h"

#include <algorithm>
#include <cstdio>

#include "models/files/atomic_file.h"

namespace wan {
namespace {

constexpr const char* kStates[] = {"done", "kept", "failed", "left"};

/// An error of several lines, each below the job.
std::string indented(const std::string& text) {
  std::string lines = "                         ";
  const std::string margin = "\n" + lines;
  for (char letter : text) lines += letter == '\n' ? margin : std::string(1, letter);
  return lines + "\n";
}

int64_t count(const std::vector<ReportRow>& rows, const char* state) {
  return std::count_if(rows.begin(), rows.end(), [&](const ReportRow& row) { return row.state == state; });
}

bool has_findings(const nlohmann::ordered_json& quality) {
  return quality.is_object() && quality.contains("found") && !quality["found"].empty();
}

int64_t with_findings(const std::vector<ReportRow>& rows) {
  return std::count_if(rows.begin(), rows.end(), [](const ReportRow& row) { return has_findings(row.quality); });
}

/// What was found, a line each.
std::string found_text(const nlohmann::ordered_json& quality, const std::string& whose) {
  std::string text;
  if (has_findings(quality))
    for (const auto& finding : quality["found"])
      text += (text.empty() ? "" : "\n") + whose + finding.value("kind", "") + ": " + finding.value("text", "");
  return text;
}

}  // namespace

std::string report_text(const std::vector<ReportRow>& rows, const std::string& behind) {
  std::string text = "  line  state     seconds  output\n";
  for (const ReportRow& row : rows) {
    char columns[64];
    std::snprintf(columns, sizeof columns, "%6ld  %-6s  %9.1f  ", long(row.line), row.state.c_str(), row.seconds);
    text += columns + row.out + "\n";
    if (!row.error.empty()) text += indented(row.error);
    if (const std::string found = found_text(row.quality, "quality, "); !found.empty()) text += indented(found);
    if (row.quality_first.is_null()) continue;
    text +=
        indented("rendered once more with exact kernels" + (row.first.empty() ? "" : "; the first is " + row.first));
    if (const std::string found = found_text(row.quality_first, "first, "); !found.empty()) text += indented(found);
  }
  std::string sums;
  for (const char* state : kStates)
    if (const int64_t jobs = count(rows, state))
      sums += (sums.empty() ? " " : ", ") + std::to_string(jobs) + " " + state;
  if (const int64_t found = with_findings(rows)) sums += ", " + std::to_string(found) + " with findings";
  if (!behind.empty()) sums += (sums.empty() ? " " : ", ") + behind;
  return text + std::to_string(rows.size()) + " jobs:" + sums + "\n";
}

nlohmann::ordered_json report_json(const std::vector<ReportRow>& rows) {
  nlohmann::ordered_json json = {{"jobs", nlohmann::ordered_json::array()}};
  for (const ReportRow& row : rows) {
    nlohmann::ordered_json entry = {{"line", row.line}, {"task", row.task},   {"seed", row.seed},
                                    {"out", row.out},   {"state", row.state}, {"seconds", row.seconds}};
    if (!row.error.empty()) entry["error"] = row.error;
    if (!row.quality.is_null()) entry["quality"] = row.quality;
    if (!row.quality_first.is_null()) entry["quality_first"] = row.quality_first;
    if (!row.first.empty()) entry["first"] = row.first;
    if (!row.safety.is_null()) entry["safety"] = row.safety;
    json["jobs"].push_back(entry);
  }
  for (const char* state : kStates) json[state] = count(rows, state);
  json["with_findings"] = with_findings(rows);
  return json;
}

void write_report(const std::string& path, const nlohmann::ordered_json& report) {
  const std::string text = report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace wan
