// Whether what was found or named as a part is that part.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/residency/noise_level.h"
#include "engine/residency/parts.h"
#include "engine/residency/recognised_files.h"
#include "models/files/error.h"

namespace wan {

/// Which expert a network is; nothing for those that are none.
std::optional<NoiseLevel> level_of(Network network);

struct PartVerdict {
  std::optional<ModelError> error;
  bool other = false;                // the error: it is another network
  std::vector<std::string> remarks;  // what is taken on trust, for notes
};

/// Judges a part by its file and its name. `by_name`: the user named it, by a flag or in a set; then its flag is the way
/// out, and its name must not be that of the other expert. A damaged file is left to check_model, but where a user named
/// the folder of a whole model, the part in it is told.
PartVerdict judge(Network network, Task task, const ModelPart& part, const RecognisedFile& file, bool by_name);

/// "MODEL/high_noise_model": where the folder of a whole model has a network; empty where `folder` is none, or lacks it.
std::filesystem::path part_inside(const std::filesystem::path& folder, Network network);

}  // namespace wan
