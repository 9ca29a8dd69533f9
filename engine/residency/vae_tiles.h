// Rows of the tiles in which a job's VAE computes, and what holds of them where a job goes on elsewhere.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>

#include "engine/base/note.h"

namespace wan {

/// Of each dtype in which the VAE may compute, in float16 or once more in float32; 0: on whole frames. On a card they
/// decide about last bits.
struct VaeTiles {
  static constexpr int64_t kUnknown = -1;  // of records of builds that did not say it
  int64_t half = 0, wide = 0;

  int64_t of(at::ScalarType dtype) const { return dtype == at::kHalf ? half : wide; }
  bool operator==(const VaeTiles&) const = default;
};

/// What a job computes in that was begun with `before`, or that replays such a video, on a card that takes `ruled` by
/// itself: the same, and `ruled` where it is unknown. Whole frames for which this card has no room become tiles, which
/// note_lost_frames tells.
VaeTiles kept_tiles(const std::optional<VaeTiles>& before, const VaeTiles& ruled);

/// A note where whole frames could not be kept, of a VAE that begins in `dtype`.
void note_lost_frames(const std::optional<VaeTiles>& before, const VaeTiles& now, at::ScalarType dtype, Notes& notes);

/// Whether a job can be asked for tiles of so many rows: those that plans count (vae::kTileRows); 0 is whole frames.
bool are_planned_rows(int64_t rows);

}  // namespace wan
