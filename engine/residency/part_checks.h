// Whether what was found or named as a part is that part.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/residency/parts.h"
#include "engine/residency/recognised_files.h"
#include "models/files/error.h"

namespace wan {

struct PartVerdict {
  std::optional<ModelError> error;
  bool other = false;                // the error: it is another network
  std::vector<std::string> remarks;  // what is taken on trust, for notes
};

/// Judges a part by its file and its name. `by_name`: the user named it, by a flag or in a set. An error then tells the
/// flag that names another file, and the part's name must not be that of the other expert. A damaged file is left to
/// check_model; where a user named the folder of a whole model, the error tells the part in it.
PartVerdict judge(Network network, Task task, const ModelPart& part, const RecognisedFile& file, bool by_name);

/// "MODEL/high_noise_model": where the folder of a whole model has a network; empty where `folder` is none, or lacks it.
std::filesystem::path part_inside(const std::filesystem::path& folder, Network network);

}  // namespace wan
