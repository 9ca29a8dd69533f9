// All checkpoints of a folder, in whatever layout: what may be the parts of a model.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/residency/parts.h"

namespace wan {

/// What lies under a folder. Nothing of it has been opened.
struct FolderScan {
  std::vector<ModelPart> checkpoints;  // files, and folders that hold one network together; in the order of their names
  std::vector<std::string> looked_in;  // folders, relative to the root; "." for itself
  std::vector<std::string> unlisted;   // folders that cannot be listed, with the reason
  std::vector<std::string> too_deep;   // folders with checkpoints or folders below kDeepest, not looked into
  std::vector<std::string> twins;      // files beside another file of the usual names, which is taken
  bool cut = false;                    // more lies there than is looked at
};

/// Most entries and checkpoints that a scan takes, and how deep it goes below a folder.
inline constexpr size_t kMostEntries = 20'000, kMostCheckpoints = 1'000;
inline constexpr int kDeepest = 3;

/// Looks through a ComfyUI folder of models, or the one above it: diffusion_models, unet, text_encoders, clip, vae and
/// audio_encoders; through any other folder as it is. Follows links, each folder once. Hidden files do not count.
/// A folder is one network where it holds shards or diffusion_pytorch_model*, and below `root` also where it holds
/// model.safetensors, pytorch_model.bin, or a config.json beside its only checkpoint; each further file is one of its
/// own.
/// Throws ModelError where `root` cannot be listed.
FolderScan scan_folder(const std::filesystem::path& root);

/// What the place of a part stands for: a file, or a folder that holds one network, or nothing of which a network could
/// be made, stands for itself; a folder with one checkpoint of another name for that file. Empty where several
/// checkpoints lie there, or folders alone, which a scan tells apart. Unfinished downloads do not count.
std::filesystem::path one_network_in(const std::filesystem::path& place);

/// What a user should know of a scan that did not see everything.
std::vector<std::string> remarks_of(const FolderScan& scan);

}  // namespace wan
