#include "engine/job/forecast.h"

namespace wan {

void Forecast::expect(const std::string& job, int64_t tokens, double steps) {
  // Per layer of A14B 4 L d (3 d + ffn + L) multiplications: linear layers, and attention growing with L.
  constexpr double kLinear = 3 * 5120 + 13824;
  const double length = double(tokens), denoise = steps * length * (kLinear + length);
  jobs_[job] = {{denoise, length}, {denoise, length}};
}

void Forecast::at(const Report& report) {
  const auto now = Clock::now();
  auto found = jobs_.find(report.job);
  if (found != jobs_.end() && report.steps > 0 && (report.stage == Stage::Denoise || report.stage == Stage::Decode)) {
    Work& work = found->second;
    const Kind kind = report.stage == Stage::Denoise ? kDenoise : kDecode;
    const double left = work.all[kind] * (1 - report.done());
    if (report.job == last_.job && report.stage == last_.stage && left < work.left[kind]) {
      seconds_[kind] += std::chrono::duration<double>(now - last_time_).count();
      done_[kind] += work.left[kind] - left;
    }
    work.left[kind] = left;
    if (kind == kDecode) work.left[kDenoise] = 0;
  }
  last_ = report;
  last_time_ = now;
  Report whole = report;
  whole.batch_seconds = seconds_left();
  progress_.at(whole);
}

std::optional<double> Forecast::seconds_left() const {
  std::optional<double> seconds;
  for (Kind kind : {kDenoise, kDecode}) {
    if (done_[kind] == 0) continue;
    double left = 0;
    for (const auto& [job, work] : jobs_) left += work.left[kind];
    seconds = seconds.value_or(0) + left * seconds_[kind] / done_[kind];
  }
  return seconds;
}

}  // namespace wan
