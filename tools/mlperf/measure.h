// The benchmark's run: videos made one at a time or all at once, and the seconds of their stages.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/bench/report.h"
#include "tools/mlperf/frames.h"
#include "tools/mlperf/maker.h"
#include "tools/mlperf/settings.h"

namespace wan::mlperf {

/// What is made.
struct Series {
  Settings settings;
  std::vector<std::string> prompts;  // taken in turn
  std::string negative;
  Tensor latent;       // [16, T, h, w] float32, any device: where every video starts
  int64_t videos = 3;  // at least 1
  FrameFiles files = {};
};

/// What measures. The defaults are the real thing; tests bring a clock of their own.
struct Instruments {
  std::function<double()> clock = {};       // seconds; the steady clock where it is empty
  bool encodes_aside = true;                // frames are written by another thread, beside the next ones' decoding
  std::function<void()> reset_peak = {};    // device memory
  std::function<double()> peak_bytes = {};  // since then
};

/// Seconds of one video's stages, each from the moment at which the device had nothing to do to that at which it had
/// finished. Writing may go on beside other stages.
struct StageSeconds {
  double text = 0, high = 0, low = 0, decode = 0, write = 0;
  double whole = 0;  // single stream: from the prompt to the finished file
};

/// Throws std::invalid_argument for settings that no network takes, for no prompt or no video, and for a latent of
/// another size than the settings'.
void check(const Series& series);

/// Makes the series' videos after one step of each expert and two latent frames, which are not counted, and adds to the
/// report: rows of the suite "mlperf" for each stage and "video" with the milliseconds of a whole one (offline: of all
/// of them, divided by their number), the published results, and what was kept and what was not (kComparable). `save`
/// gets the report after each video; before the last it says how many are there, and offline that it is not comparable.
/// Exceptions of the maker and of the files pass.
void measure(VideoMaker& maker, const Series& series, const Instruments& instruments, bench::Report& report,
             const std::function<void(const bench::Report&)>& save = {});

}  // namespace wan::mlperf
