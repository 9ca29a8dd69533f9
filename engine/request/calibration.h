// How much the transformer's residual (its tokens behind the last block, less those before the first) changes from one
// step to the next: published ratios, or those that `wan-infer calibrate` measured. No tensors.
// Source: MagCache (Ma et al. 2025, arXiv 2506.09045).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// The branches of guidance in the order in which a forward has them: an index.
inline constexpr size_t kConditional = 0, kUnconditional = 1, kBranches = 2;
/// "conditional", "unconditional".
const char* branch_name(size_t branch);

/// A residual against that of the step before, over all tokens.
struct ResidualChange {
  double ratio = 1;            // mean of |r_i| / |r_(i-1)| of each token
  double deviation = 0;        // standard deviation of the same
  double cosine_distance = 0;  // mean of 1 - cos(r_i, r_(i-1)) of each token
  bool operator==(const ResidualChange&) const = default;
};

struct CalibratedStep {
  double sigma = 0;
  bool high = true;  // the high-noise expert; speech, which has one transformer, is all high
  /// By branch. None in an expert's first step, and of a branch that the expert's steps did not have.
  std::array<std::optional<ResidualChange>, kBranches> changes = {};
  bool operator==(const CalibratedStep&) const = default;
};

/// A transformer, told by its weights whatever its files are called.
struct CalibratedNetwork {
  std::string part;     // high_noise | low_noise | transformer
  std::string name;     // of its file or folder, for messages
  std::string weights;  // 64 hexadecimal digits (WeightsSum, engine/residency/identity.h)
  bool operator==(const CalibratedNetwork&) const = default;
};

struct Calibration {
  std::string source = {};  // what messages call it
  Task task = Task::T2V;
  std::string solver = {}, dtype = {}, precision = {};
  double shift = 0, boundary = 0, guidance_scale = 0, guidance_scale_2 = 0;
  int64_t width = 0, height = 0, num_frames = 0, videos = 0;  // videos: how many the means are of
  std::vector<CalibratedNetwork> networks = {};               // empty: of the published ones
  std::vector<CalibratedStep> steps = {};
};

/// One line of JSON for each step, for a file that people may read. Sigmas and ratios come back as the same numbers.
std::string to_text(const Calibration& calibration);
/// What to_text gave; `source` names it in messages. Throws InvalidRequest (field "calibration") where the text is
/// something else, or a number is out of its range.
Calibration parse_calibration(const std::string& text, const std::string& source);
/// A file of at most 4 MB. Throws the same, also where it cannot be read.
Calibration read_calibration(const std::string& path);

/// Throws InvalidRequest (field "calibration") where it is of another task: video to video has that of text to video,
/// whose model it is, and the other way round.
void check_task(const Calibration& calibration, Task task);

/// The norm of a residual over the noise level, in one expert and one branch: its logarithm is taken as linear between
/// the levels that were measured, so that a step of another schedule has the product of the ratios that it passes, in
/// parts where it passes a part.
class NormOverSigma {
 public:
  NormOverSigma(const Calibration& calibration, bool high, size_t branch);

  /// |r| at the level `to` against |r| at `from`. Beyond the measured levels the first or the last ratio goes on for
  /// the width of its own step; nothing where a level lies further out, or fewer than two levels were measured.
  std::optional<double> ratio(double from, double to) const;

 private:
  std::optional<double> log_norm(double sigma) const;
  struct Point {
    double sigma, log_norm;  // log |r|, 0 at the first point
  };
  std::vector<Point> points_;  // sigma falls
};

}  // namespace wan
