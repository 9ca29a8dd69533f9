// Which of the two experts a file is for by its name. No tensors.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace wan {

enum class NoiseLevel { High, Low };

/// What the name of a file or folder says, or else the folders in which it lies: those of `name`, its path relative to
/// the model's folder, at least one. A file says high_noise, HighNoise, HIGH, high-noise, and so for low. A folder says
/// it with the word noise, or is called "high" or "low" alone: "low_vram" tells nothing of an expert; of folders also
/// transformer and transformer_2 of diffusers. Nothing where none does, or where the first that does names both.
std::optional<NoiseLevel> noise_level(const std::filesystem::path& path, const std::filesystem::path& name);
/// Whether the first name that has such words at all has those of both levels, as "high_noise_low_vram.gguf" does,
/// whatever noise_level() makes of it.
bool says_both(const std::filesystem::path& path, const std::filesystem::path& name);
/// What is wrong with a name that does not tell the expert: "says neither high nor low noise", or "says both high and
/// low noise".
std::string without_level(const std::filesystem::path& path, const std::filesystem::path& name);

}  // namespace wan
