// What MLPerf Inference's benchmark Wan2.2-T2V-A14B (since v6.0) fixes, and in what a run differs from it. No tensors.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/request/schedule.h"

namespace wan::mlperf {

/// One video at a time, or all prompts at once.
enum class Scenario { SingleStream, Offline };

struct Settings {
  int64_t width = 1280, height = 720, frames = 81, steps = 20;  // pixels, multiples of 16; frames 4n + 1
  double guidance = 4, guidance_2 = 3;                          // of the high-noise and of the low-noise expert
  double boundary = 0.875;                                      // in units of t / 1000
  /// Of the noise levels: 12 in the model's own code. The benchmark takes what lies beside its weights, and seconds do
  /// not depend on it.
  double shift = 12;
  std::string solver = "unipc";
  Scenario scenario = Scenario::SingleStream;

  /// "1280x720, 81 frames, 20 steps"
  std::string shape() const;
  /// The shape, and ", single stream" or ", offline".
  std::string label() const;
  /// [16, (frames - 1) / 4 + 1, height / 8, width / 8]
  std::array<int64_t, 4> latent_shape() const;
  /// Of the transformer.
  int64_t tokens() const;
  /// Throws std::invalid_argument for a size, a number of frames or of steps that the networks do not take, and for
  /// numbers that are none.
  void check() const;
};

Schedule schedule_of(const Settings& settings);

/// In what a run differs from the benchmark's settings so that its times cannot stand beside the published ones: "width
/// 64 in place of 1280". Empty: in nothing.
std::vector<std::string> differences(const Settings& settings);

/// The prompts of a file, one a line, without the blanks around them; empty lines are left out. Throws
/// std::invalid_argument where it cannot be read or holds none.
std::vector<std::string> read_prompts(const std::string& file);

/// What VBench looks for: "PROMPT-0", with '_' in place of what no file name has.
std::string vbench_name(const std::string& prompt);

}  // namespace wan::mlperf
