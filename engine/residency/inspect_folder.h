// What lies in a folder, for `wan-infer inspect`: a step of inspect().
#pragma once

#include <filesystem>
#include <vector>

#include "engine/residency/inspect.h"
#include "engine/residency/recognised_files.h"

namespace wan {

/// The networks, tokenizers and remarks of a folder, without a kind; `paths` gets the path of each network. What the
/// checkpoints are goes to `files`. Throws ModelError where the folder cannot be listed or its index is broken.
Inspection list_folder(const std::filesystem::path& root, std::vector<std::filesystem::path>& paths,
                       RecognisedFiles& files);

/// Throws ModelErrors with the reasons of those that cannot be read, the first ten of them, where no network can be;
/// about `subject` where there is none at all and no tokenizer.
void refuse_unreadable(const Inspection& inspection, const std::filesystem::path& subject);

}  // namespace wan
