// Files of a model's folder by their names alone, where a flag names one that is not there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/residency/folder_scan.h"

namespace wan {

/// What is called `name` at `root` or in a folder that a scan of it looked in; one file under two folders' names once.
std::vector<std::filesystem::path> lying_as(const std::filesystem::path& name, const std::filesystem::path& root,
                                            const FolderScan& scan);

/// What is said of a part that `flag` names and that is not there, behind "must be the VAE": where it was looked for,
/// and the path that would work. `there` is what lies under the model's folder `root` by that name; `bare`: the flag
/// gave a name without a folder, which was looked for there, too.
std::string not_there(const std::string& flag, const std::vector<std::filesystem::path>& there,
                      const std::filesystem::path& root, const FolderScan& scan, bool bare);

}  // namespace wan
