// `wan-bench mlperf`, from its flags to the report.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/op/options.h"
#include "tools/bench/report.h"
#include "tools/mlperf/settings.h"

namespace wan::mlperf {

struct Options {
  std::string scenario = "single";  // or offline
  /// Unset: the benchmark's where there is a card, else small ones.
  std::optional<int64_t> width, height, frames, steps;
  double guidance = Settings().guidance, guidance_2 = Settings().guidance_2, boundary = Settings().boundary;
  double shift = Settings().shift;
  std::string precision = "exact";  // balanced, fast
  std::string model;                // as wan-infer's --model; empty: weights are drawn
  std::string prompts, negative;    // files; empty: words of our own, and no negative prompt
  std::string latent;               // file with one tensor; empty: drawn from the seed
  uint64_t seed = 42;               // the benchmark's
  int64_t videos = 0;               // 0: three, or with a file of prompts one for each
  std::string frames_to;            // folder; empty: nothing is kept
  bool small_networks = false;      // drawn ones of a size for tests; always without a card
  std::string command, commit;
  kernels::Options kernels = {};
};

/// Measures, on the first CUDA device where there is one (bench::has_device), and gives `save` the report after each
/// video. Throws std::invalid_argument for what cannot be measured.
bench::Report run(const Options& options, const std::function<void(const bench::Report&)>& save);

}  // namespace wan::mlperf
