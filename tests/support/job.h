// What tests of jobs share: progress that counts and stops, and a log that is kept.
#pragma once

#include "engine/base/error.h"
#include "engine/residency/run.h"

namespace wan {

struct Silent : Progress {
  void at(const Report&) override {}
};

/// Counts reports, and stops like Ctrl-C before denoising step `stop_at`, before a latent frame is decoded, or where a
/// stage begins.
struct Steps : Progress {
  explicit Steps(int64_t stop_at = INT64_MAX, int64_t stop_decoding_at = INT64_MAX)
      : stop_at(stop_at), stop_decoding_at(stop_decoding_at) {}
  explicit Steps(Stage stage) : stop_stage(stage) {}
  void at(const Report& report) override {
    ++reports;
    if (report.stage == stop_stage) throw Cancelled();
    if (report.stage == Stage::Denoise && made++ == stop_at) throw Cancelled();
    if (report.stage == Stage::Decode && decoded++ == stop_decoding_at) throw Cancelled();
    last = report;
  }
  int64_t made = 0, decoded = 0, reports = 0, stop_at = INT64_MAX, stop_decoding_at = INT64_MAX;
  std::optional<Stage> stop_stage;
  Report last = {};
};

/// A Run that logs nowhere.
struct QuietRun {
  Log log;
  Silent progress;
  Run run{log, progress};
  operator const Run&() const { return run; }
};

}  // namespace wan
