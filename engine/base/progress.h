// How far a job is, and whether it should go on: one interface for the bar, plain lines, JSON lines and a server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace wan {

enum class Stage { Fetch, Load, Encode, Denoise, Decode, Write, Compare, Upload };

/// One report. `step` counts finished units of `stage` out of `steps`: bytes of Fetch, which has 0 where it knows no end,
/// and of Upload.
struct Report {
  Stage stage;
  int64_t step = 0, steps = 0;
  std::string expert;                        // "high" or "low" while denoising
  std::string job;                           // label in a batch, else empty
  std::optional<double> batch_seconds = {};  // left for the whole batch, as far as is known
  std::optional<double> share = {};          // of the stage's work that is done, where its steps are not alike

  /// The share that is done, from 0 to 1; 0 where no end is known.
  double done() const { return share ? *share : steps > 0 ? double(step) / double(steps) : 0; }
};

/// Implementations draw or forward; the engine calls `at` from one thread only.
class Progress {
 public:
  virtual ~Progress() = default;
  /// Called before each step. Throws Cancelled when the user asked to stop, and Withdrawn where the job that works now
  /// is to end alone (RunOptions::on_job says which one that is).
  virtual void at(const Report& report) = 0;
  /// The same question without a report, for work that has no steps: called several times a second, shows nothing.
  virtual void check() {}
};

}  // namespace wan
