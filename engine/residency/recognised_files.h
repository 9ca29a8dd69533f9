// What checkpoints hold, told from their headers: each is opened once.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/files/error.h"
#include "models/recognise.h"

namespace wan {

struct RecognisedFile {
  Recognised network = {};
  std::optional<ModelError> broken = {};   // why it cannot be read; nothing where it can
  std::vector<std::string> left_out = {};  // Checkpoint::left_out
};

class RecognisedFiles {
 public:
  /// Of a file, or of a folder with the files of one network. Throws nothing for those that are absent or broken.
  const RecognisedFile& at(const std::filesystem::path& path);
  /// One that was opened elsewhere; of a path that is known already nothing changes.
  void know(const std::filesystem::path& path, RecognisedFile file) { known_.try_emplace(path, std::move(file)); }

 private:
  std::map<std::filesystem::path, RecognisedFile> known_;
};

}  // namespace wan
