// What has happened since the server began, counted for /metrics.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/serve/queue/job.h"

namespace wan::serve {

/// How many of the values lie at or below each bound, as Prometheus counts them.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size()) {}
  void add(double value);
  /// Its lines, without HELP and TYPE; `labels` as "endpoint=\"...\"", or empty.
  std::string text(const std::string& name, const std::string& labels = {}) const;

 private:
  std::vector<double> bounds_;
  std::vector<uint64_t> counts_;  // of each bound alone
  uint64_t count_ = 0;
  double sum_ = 0;
};

/// Counted on the io_context's thread.
struct Metrics {
  std::map<int, uint64_t> answers;                                          // by HTTP status
  std::map<std::string, uint64_t> ended;                                    // by "done", "failed", "cancelled"
  std::map<std::string, uint64_t> failures;                                 // by error_type; of 422 "invalid_input"
  Histogram waits{{1, 5, 15, 60, 300, 900, 3600, 14400, 86400}};            // seconds from submit to begin
  Histogram work{{1, 5, 15, 60, 120, 300, 600, 1200, 3600, 14400, 86400}};  // seconds from begin to end, of done ones
  const std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();

  void job_ended(const Job& job);
};

/// A family of Prometheus' text form, line by line.
class MetricText {
 public:
  /// "# HELP" and "# TYPE" of what follows; `type` is counter, gauge or histogram.
  void family(const std::string& name, const char* type, const std::string& help);
  /// `labels`: names to values, which are escaped here.
  void value(const std::string& name, double value,
             const std::vector<std::pair<std::string, std::string>>& labels = {});
  void lines(const std::string& text) { text_ += text; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace wan::serve
