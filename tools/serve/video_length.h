// How long a finished video is.
#pragma once

#include <filesystem>

namespace wan {

/// Seconds, by the file's own word; 0 where it does not say, or cannot be read.
double video_seconds_of(const std::filesystem::path& video);

}  // namespace wan
