// Names by which files are told apart without saying where they lie.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace wan {

/// The last component of each path, and as many before it as tell it from other paths of the list. One path that comes
/// several times has one name.
std::vector<std::string> short_names(const std::vector<std::filesystem::path>& paths);

}  // namespace wan
