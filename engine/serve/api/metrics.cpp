#include "engine/serve/api/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace wan::serve {
namespace {

/// The shortest text of a number, also of one without an end.
std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[40];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return error == std::errc() ? std::string(text, end) : "NaN";
}

std::string escaped(const std::string& value) {
  std::string text;
  for (char letter : value) {
    if (letter == '\\' || letter == '"') text += '\\';
    if (letter == '\n')
      text += "\\n";
    else
      text += letter;
  }
  return text;
}

}  // namespace

void Histogram::add(double value) {
  if (!(value >= 0)) value = 0;  // a clock that was set back
  for (size_t i = 0; i < bounds_.size(); ++i)
    if (value <= bounds_[i]) {
      ++counts_[i];
      break;
    }
  ++count_;
  sum_ += value;
}

std::string Histogram::text(const std::string& name, const std::string& labels) const {
  const std::string before = labels.empty() ? "" : labels + ",", all = labels.empty() ? "" : "{" + labels + "}";
  std::string lines;
  uint64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    lines += name + "_bucket{" + before + "le=\"" + number(bounds_[i]) + "\"} " + std::to_string(below) + "\n";
  }
  lines += name + "_bucket{" + before + "le=\"+Inf\"} " + std::to_string(count_) + "\n";
  lines += name + "_sum" + all + " " + number(sum_) + "\n";
  return lines + name + "_count" + all + " " + std::to_string(count_) + "\n";
}

void Metrics::job_ended(const Job& job) {
  ++ended[job.status == JobStatus::Done ? "done" : job.status == JobStatus::Cancelled ? "cancelled" : "failed"];
  if (job.status == JobStatus::Failed && job.error)
    ++failures[job.error->type.empty() ? "invalid_input" : job.error->type];
  if (job.started > 0) waits.add(double(job.started - job.created) / 1000);
  if (job.started > 0 && job.status == JobStatus::Done) work.add(double(job.ended - job.started) / 1000);
}

void MetricText::family(const std::string& name, const char* type, const std::string& help) {
  text_ += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

void MetricText::value(const std::string& name, double value,
                       const std::vector<std::pair<std::string, std::string>>& labels) {
  text_ += name;
  for (size_t i = 0; i < labels.size(); ++i)
    text_ += (i == 0 ? "{" : ",") + labels[i].first + "=\"" + escaped(labels[i].second) + "\"";
  text_ += (labels.empty() ? " " : "} ") + number(value) + "\n";
}

}  // namespace wan::serve
