// Which of the two experts a file holds: nothing inside it tells, so that its name must.
#pragma once

#include <optional>
#include <string>

#include "engine/residency/parts.h"

namespace wan {

enum class NoiseLevel { High, Low };

/// Which expert a network is; nothing for those that are none.
std::optional<NoiseLevel> level_of(Network network);

/// What the name of a part says, or else the folders in which it lies: those of ModelPart::name, at least one. A file
/// says high_noise, HighNoise, HIGH, high-noise, and so for low. A folder says it with the word noise, or is called
/// "high" or "low" alone: "low_vram" tells nothing of an expert; of folders also transformer and transformer_2 of
/// diffusers. Nothing where none does, or where the first that does names both.
std::optional<NoiseLevel> noise_level(const ModelPart& part);
/// Whether the first name that has such words at all has those of both levels, as "high_noise_low_vram.gguf" does,
/// whatever noise_level() makes of it.
bool says_both(const ModelPart& part);
/// What is wrong with a name that does not tell the expert: "says neither high nor low noise", or "says both high and
/// low noise".
std::string without_level(const ModelPart& part);

}  // namespace wan
