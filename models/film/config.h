// Sizes of a FILM network, as its tensors tell them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/weights/stored_tensor.h"

namespace wan::film {

/// Levels count from the finest, 0, each of half the height and width of the one before. The defaults of the published
/// network: see kPublished.
struct Config {
  /// One network that estimates flow.
  struct Predictor {
    int64_t convolutions;  // of 3x3 pixels; two of single pixels follow
    int64_t width;         // of them
  };

  int64_t filters;                    // of the first sub-level; each further one has twice as many
  int64_t sub_levels;                 // how many features each level of the pictures' pyramid gives
  std::vector<Predictor> predictors;  // of levels 0, 1, ...; the last one is that of all coarser levels, too
  std::vector<int64_t> fusion;        // widths of the fusion at levels 0, 1, ...; the level after these is only read
  int64_t pyramid_levels = 7;         // no tensor tells it

  /// Read off the names and shapes of `tensors` (those of the published archive). Throws ModelError naming `label` where
  /// one of them is missing or tells a size that is out of range.
  static Config of(const StoredTensors& tensors, const std::string& label);

  /// Channels of the features at a level: those of all sub-levels that reach it.
  int64_t features(int64_t level) const;
  const Predictor& predictor(int64_t level) const;
  /// Levels that the fusion reads: one more than it computes.
  int64_t fusion_levels() const { return int64_t(fusion.size()) + 1; }
  /// Channels that the fusion reads at a level: both pictures and their features, warped, and both flows.
  int64_t aligned(int64_t level) const { return 2 * (3 + features(level) + 2); }
  /// What height and width are padded to a multiple of.
  int64_t alignment() const { return int64_t(1) << (pyramid_levels - 1); }
};

/// The published network, film_net of the style loss.
inline const Config kPublished = {64, 4, {{3, 32}, {3, 64}, {3, 128}, {3, 256}}, {64, 128, 256, 512}};

}  // namespace wan::film
