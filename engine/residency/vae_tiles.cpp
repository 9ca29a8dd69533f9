#include "engine/residency/vae_tiles.h"

#include "models/vae/tiles.h"

namespace wan {

VaeTiles kept_tiles(const std::optional<VaeTiles>& before, const VaeTiles& ruled) {
  if (!before) return ruled;
  return {before->half > 0 ? before->half : ruled.half, before->wide > 0 ? before->wide : ruled.wide};
}

void note_lost_frames(const std::optional<VaeTiles>& before, const VaeTiles& now, at::ScalarType dtype, Notes& notes) {
  const auto is_lost = [&](at::ScalarType in) { return before && before->of(in) == 0 && now.of(in) > 0; };
  const auto note = [&](at::ScalarType in, const std::string& when) {
    notes.add({"vae",
               when +
                   "it was to compute on whole frames, which have no room on this card or in --device-memory: it takes "
                   "tiles of " +
                   std::to_string(now.of(in)) + " rows, and the frames differ in their last bits",
               "more memory, or a larger --device-memory, has room for whole frames"});
  };
  if (is_lost(dtype)) return note(dtype, "");
  if (dtype == at::kHalf && is_lost(at::kFloat)) note(at::kFloat, "where a clip leaves the range of float16, ");
}

bool are_planned_rows(int64_t rows) {
  return rows == 0 || rows == vae::kTileRows;
}

}  // namespace wan
