// The size of a video as the networks see it.
#pragma once

#include <cstdint>

namespace wan {

/// Pixels and rendered frames.
struct Extent {
  int64_t frames, height, width;
  int64_t tokens() const { return ((frames - 1) / 4 + 1) * (height / 16) * (width / 16); }
};

}  // namespace wan
