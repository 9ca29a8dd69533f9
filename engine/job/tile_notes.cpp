#include "engine/job/tile_notes.h"

namespace wan {
namespace {

constexpr const char *kTiles = "vae_tiles", *kHalf = "float16", *kWide = "float32";

}  // namespace

void TileNotes::note(const std::string& name, const VaeTiles& tiles, bool on_cpu) {
  const std::optional<VaeTiles> before = noted(name);
  if (before == tiles || (on_cpu && !before && tiles == VaeTiles())) return;
  const nlohmann::json* known = folder_.find(name);
  nlohmann::json fields = known ? *known : nlohmann::json::object();
  fields[kTiles] = {{kHalf, tiles.half}, {kWide, tiles.wide}};
  folder_.note(name, fields);
}

std::optional<VaeTiles> TileNotes::noted(const std::string& name) const {
  const nlohmann::json* known = folder_.find(name);
  if (!known || !known->contains(kTiles)) return std::nullopt;
  return VaeTiles{known->at(kTiles).at(kHalf), known->at(kTiles).at(kWide)};
}

}  // namespace wan
