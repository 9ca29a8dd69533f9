// The words for parts of a model that were found nowhere.
#pragma once

#include <vector>

#include "engine/residency/folder_scan.h"
#include "engine/residency/parts.h"
#include "engine/residency/recognised_files.h"
#include "models/files/error.h"

namespace wan {

struct MissingParts {
  std::vector<Network> networks;
  bool tokenizer = false;
};

/// What is missing of the model at `root` (a folder, a file, or empty), what was looked at instead, what each of those
/// is, and the flags that name the parts.
ModelError missing_error(const MissingParts& missing, const std::filesystem::path& root, Task task,
                         const FolderScan& scan, RecognisedFiles& files);

}  // namespace wan
