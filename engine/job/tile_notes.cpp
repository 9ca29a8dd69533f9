#include "engine/job/tile_notes.h"

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "models/vae/tiles.h"

namespace wan {
namespace {

constexpr const char *kTiles = "vae_tiles", *kHalf = "float16", *kWide = "float32";

/// Of what was noted as the tiles. Throws InvalidRequest for rows that no run notes: frames would come out otherwise.
int64_t rows_in(const nlohmann::json& tiles, const char* dtype, const WorkFolder& folder) {
  const nlohmann::json rows = tiles.is_object() ? tiles.value(dtype, nlohmann::json()) : nlohmann::json();
  if (rows.is_number_integer() && are_planned_rows(rows.get<int64_t>())) return rows.get<int64_t>();
  throw InvalidRequest("work", std::string("must note the VAE's tiles in ") + dtype + " as 0 or " +
                                   std::to_string(vae::kTileRows) + " rows, as wan-infer does, and the journal of " +
                                   shown_path(folder.path().string()) + " has " + shown(rows) +
                                   "; without that folder the job begins anew, so does a single render by --fresh");
}

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
  const nlohmann::json& tiles = known->at(kTiles);
  return VaeTiles{rows_in(tiles, kHalf, folder_), rows_in(tiles, kWide, folder_)};
}

}  // namespace wan
