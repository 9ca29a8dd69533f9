// Finds the tokenizer of a model: a step of find_parts.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/residency/parts.h"
#include "models/files/error.h"

namespace wan {

struct TokenizerSearch {
  std::optional<ModelPart> part;  // nothing: there is none, or the errors say what is wrong with it
  std::vector<ModelError> errors;
  std::vector<std::string> remarks;  // for ModelParts::remarks
};

/// `named`: what the user named as the tokenizer. Else it is looked for at its places under `root` (empty: no folder)
/// and around `encoder` (null: none was found), then inside that file.
TokenizerSearch find_tokenizer(const std::optional<ModelPart>& named, const std::filesystem::path& root,
                               const ModelPart* encoder);

}  // namespace wan
