// The two containers that a video is written in.
#pragma once

#include <string>

namespace wan {

enum class Container { Mp4, QuickTime };

/// QuickTime where the name ends in .mov, in letters of either case; MP4 else.
Container container_of(const std::string& path);

}  // namespace wan
