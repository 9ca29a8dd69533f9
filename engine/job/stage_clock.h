// Seconds and peak memory of a job's stages, as log lines.
#pragma once

#include <chrono>

#include "engine/base/log.h"
#include "engine/residency/device.h"

namespace wan {

/// One log line when a stage ends, and one for the whole job.
class StageClock {
 public:
  StageClock(const Log& log, const Placement& placement) : log_(log), placement_(placement) {}

  void end(const char* stage, Log::Fields fields = Log::Fields::object()) {
    auto now = std::chrono::steady_clock::now();
    double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    fields["seconds"] = seconds;
    log_(stage, fields);
    totals_[stage] = seconds;
  }

  /// The last line: seconds of every stage, peak memory, the file.
  void finish(const std::string& out) {
    Log::Fields fields = {{"out", out}};
    for (const auto& [stage, seconds] : totals_.items()) fields[stage + "_seconds"] = seconds;
    fields["peak_ram_bytes"] = peak_memory(at::kCPU);
    if (placement_.device.is_cuda()) fields["peak_vram_bytes"] = peak_memory(placement_.device);
    log_("done", fields);
  }

 private:
  const Log& log_;
  const Placement& placement_;
  Log::Fields totals_ = Log::Fields::object();
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace wan
