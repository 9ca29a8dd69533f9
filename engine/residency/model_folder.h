// A model folder in the official layout: which files it must hold for a task, and where they are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// Paths of the networks of one task; every one of them exists.
struct ModelFolder {
  std::filesystem::path root;
  std::filesystem::path high_noise, low_noise;  // folders of the experts; both the root itself for speech
  std::filesystem::path text_encoder, vae;      // .pth files
  std::filesystem::path tokenizer;              // google/umt5-xxl
  std::filesystem::path audio_encoder;          // speech only

  /// Every file that decides the output, relative to root, in the order of their names: for identities and listings.
  /// Of other files that lie there none counts, and what is absent is left to check_model. Throws ModelError for a broken index.
  std::vector<std::filesystem::path> files() const;
};

/// Finds the files of `task` under `root`. Throws one ModelError that lists all that is missing, or says that the
/// transformers are those of another task.
ModelFolder open_model_folder(const std::filesystem::path& root, Task task);

}  // namespace wan
