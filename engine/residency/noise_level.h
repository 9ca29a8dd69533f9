// Which of the two experts a file holds: nothing inside it tells, so that its name must.
#pragma once

#include <filesystem>
#include <optional>

namespace wan {

enum class NoiseLevel { High, Low };

/// What the last component of `path` that says something says: high_noise, HighNoise, HIGH, high-noise, and so for low;
/// of folders also transformer and transformer_2. Nothing where none does, or where one names both.
std::optional<NoiseLevel> noise_level(const std::filesystem::path& path);
/// Whether the component that has such words at all has those of both levels, as "high_noise_low_vram" does, whatever
/// noise_level() makes of it.
bool says_both(const std::filesystem::path& path);

}  // namespace wan
