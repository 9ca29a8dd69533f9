// The folder that everything of a server lies in.
#pragma once

#include <filesystem>

namespace wan::serve {

/// The database in it.
inline constexpr const char* kDatabase = "jobs.sqlite";

/// Makes the folder (0700) where it is absent. Throws InvalidRequest naming "data" where it cannot be made, is no folder,
/// is another user's or can be read by others, holds what no server put there, cannot be written or has no space left.
/// That no other server uses it is for the database to see.
void prepare_data_folder(const std::filesystem::path& folder);

}  // namespace wan::serve
