// Loading a network from a copy in --cache-dir that others may replace or remove at any time.
#pragma once

#include <filesystem>
#include <optional>
#include <utility>

#include "engine/residency/weight_cache.h"
#include "models/files/error.h"

namespace wan {

/// What `build` makes of a copy in --cache-dir; nothing, after `tell` was told why, where it went or became another one before
/// its file was opened once more, by its name. `again` gives the right copy as it lies there then. What `build` throws
/// passes through, but for ModelError.
template <typename Build, typename Again, typename Tell>
auto built_from_copy(Checkpoint copy, Build build, Again again, Tell tell)
    -> std::optional<decltype(build(std::move(copy)))> {
  const std::filesystem::path path = copy.files().at(0)->path();
  try {
    const FileState before = state_of(path);
    auto built = build(std::move(copy));
    // A file that has this state before and after is what was opened in between.
    const std::optional<CachedCopy> there = again();
    if (there && there->state == before) return built;
    tell("it was replaced or written to before it was loaded");
  } catch (const ModelError& error) {
    tell(error.what());
  }
  return std::nullopt;
}

}  // namespace wan
