// The words for parts of a model that were found nowhere.
#pragma once

#include <string>
#include <vector>

#include "engine/residency/folder_scan.h"
#include "engine/residency/parts.h"
#include "engine/residency/recognised_files.h"
#include "models/files/error.h"

namespace wan {

struct MissingParts {
  std::vector<Network> networks;
  bool tokenizer = false;
  std::string set = {};  // the set of models.json that was asked for; empty: none
};

/// What is missing of the model at `root` (a folder, a file, or empty), what was looked at instead, what each of those
/// is, and the flags that name the parts; of a set its members, too. Without a root it is about the set, or about the
/// request's model.
ModelError missing_error(const MissingParts& missing, const std::filesystem::path& root, Task task,
                         const FolderScan& scan, RecognisedFiles& files);

/// "cannot be read and left out: vae/a.pth (is cut short: ...)", of the checkpoints that were looked at and are no part of
/// `taken`; empty where all can be read.
std::string unreadable_remark(const FolderScan& scan, const ModelParts& taken, RecognisedFiles& files);

/// "all.safetensors holds other networks as well, which are not used: vae, text_encoders". `networks`:
/// Checkpoint::left_out.
std::string left_out_remark(const std::string& name, const std::vector<std::string>& networks);

}  // namespace wan
