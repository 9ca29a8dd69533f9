// Where a model's tokenizer lies, if not inside its text encoder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace wan {

struct TokenizerPlace {
  std::filesystem::path folder;  // with tokenizer.json, spiece.model, or neither
  std::string rule;              // "official layout", "diffusers layout", "beside the text encoder"
};

/// In the order in which they are looked at: those of the layouts under `root`, where it is a folder, then the folder of
/// each text encoder, the one it lies in, and the usual folders there. Some may not be there, and some come twice.
std::vector<TokenizerPlace> tokenizer_places(const std::filesystem::path& root,
                                             const std::vector<std::filesystem::path>& encoders);

}  // namespace wan
