// Which tiles each job was begun with, and each encoding was computed in, kept in the work folder.
#pragma once

#include <optional>
#include <string>

#include "engine/job/work_folder.h"
#include "engine/residency/vae_tiles.h"

namespace wan {

/// On a card tiles have other last bits, so that a job that goes on there, or on another one, needs to know. On the
/// CPU, where they change nothing, none are noted but those that a replay brought along.
class TileNotes {
 public:
  explicit TileNotes(WorkFolder& folder) : folder_(folder) {}

  /// Before the job `name` begins, or the VAE works on the encoding `name`: its tiles are on the disk.
  void note(const std::string& name, const VaeTiles& tiles, bool on_cpu);
  /// What was noted under that name. Throws InvalidRequest for rows that no run notes (are_planned_rows).
  std::optional<VaeTiles> noted(const std::string& name) const;

 private:
  WorkFolder& folder_;
};

}  // namespace wan
