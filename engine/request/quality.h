// What is said of a finished video's quality: numbers, the limits beyond which they are told, and the words for it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// The parameter `quality_check`.
enum class QualityCheck { Off, Warn, Retry };
QualityCheck quality_check_of(const Request& request);

// Limits. Real videos pass them with room to spare, since a false alarm costs trust, and under `retry` a whole render;
// docs/quality.md argues each of them. Levels are of 255.

/// A frame is black where the mean of its luma and its brightest cell lie below these. What NaN or an overflow leaves
/// is 0 everywhere; a night scene has lamps, windows or a sky above them.
inline constexpr double kBlackMean = 2, kBlackPeak = 10;
/// A frame is flat where neither luma nor colour differs by more than this between its cells (standard deviation). Fog
/// and snow have several times as much.
inline constexpr double kFlatDeviation = 1;
/// Black and flat frames are told from this share on: a fade through black takes less of five seconds.
inline constexpr double kEmptyShare = 0.1;
/// Frames stand still where no cell differs from the first of them by more: the noise of a decoded picture alone moves
/// some of 2,304 cells, and motion however slow adds up.
inline constexpr double kEqualCell = 1;
/// A picture that stands for so many seconds is told, and one that stands from its first frame to its last.
inline constexpr double kFrozenSeconds = 1;
/// Frames flicker where the mean luma goes up and down in turns by at least this: 1.6 % of the range, which is seen.
inline constexpr double kFlickerLevels = 2;
/// Told from this share of the frames on, and at least so many: a cut makes one, a flash two.
inline constexpr double kFlickerShare = 0.2;
inline constexpr int64_t kFlickerFrames = 4;
/// How far the last second may lie from the first, without what cuts change: brightness in levels, and colour in levels
/// of the two differences of colour or of saturation. Light and scene may change in a clip; clips that are chained show
/// one scene and go on from each other, where what drifts adds up.
inline constexpr double kBrightnessDrift = 50, kColourDrift = 25;
inline constexpr double kChainedBrightnessDrift = 25, kChainedColourDrift = 10;
/// The first frame of a clip is a seam where it differs from the frame before it by so many levels (mean over the
/// cells), so many times the median of what frames inside of clips differ by, and so many times what 19 of 20 of them
/// stay below.
inline constexpr double kSeamLevels = 2, kSeamTimesMedian = 3, kSeamTimesMost = 1.5;
/// Fewer pairs of frames inside of clips say nothing about seams.
inline constexpr int64_t kSeamPairs = 8;
/// Sound may begin so many milliseconds before or after its place. Viewers notice sound that leads by 45 ms and one
/// that follows by 125 ms (ITU-R BT.1359).
inline constexpr double kSoundOffset = 40;

/// Numbers are rounded to two decimals, so that equal runs give equal text.
struct QualityNumbers {
  int64_t frames = 0;  // that were looked at
  int64_t black_frames = 0, flat_frames = 0;
  int64_t frozen_frames = 0;    // of the longest run of equal frames; 0 where no two are
  double frozen_seconds = 0;    // of that run
  int64_t flicker_frames = 0;   // at which the mean luma turns
  double brightness_drift = 0;  // levels: the last second less the first
  double colour_drift = 0;      // levels: between the last second and the first
  int64_t clips = 1;            // that were chained
  double usual_change = 0;      // levels: the median between two frames inside of clips
  double seam_change = 0;       // levels: the largest between the last frame of a clip and the first of the next
  int64_t seam_frame = 0;       // that first frame
  int64_t seams = 0;            // how many of these are told
  /// How much later the sound begins than the picture, and how much longer it lasts, in milliseconds; nothing without
  /// sound. `sound_shift`: what of the offset is not the input's own.
  std::optional<double> sound_offset = {}, sound_shift = {}, sound_excess = {};
};

/// Something that is wrong with a video.
struct Finding {
  std::string kind;    // black | flat | frozen | flicker | brightness | colour | seam | sound
  std::string text;    // what was found, with the numbers
  std::string change;  // what to do about it
};

/// In that order, each kind once; empty where the numbers are within the limits.
std::vector<Finding> findings(const QualityNumbers& quality);
/// "black, seam"; empty where there are none.
std::string kinds_text(const std::vector<Finding>& found);

/// The numbers, with the findings as "found": [{"kind", "text", "change"}]. Numbers about clips and sound are there
/// where there are several clips, and sound.
nlohmann::ordered_json to_json(const QualityNumbers& quality);
/// Throws nlohmann::json::exception for other JSON. What "found" says is found again from the numbers.
QualityNumbers read_quality(const nlohmann::json& json);

/// To two decimals, and never -0.
double rounded(double value);

}  // namespace wan
