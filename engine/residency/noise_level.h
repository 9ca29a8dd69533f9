// Which of the two experts a part of a model holds: nothing inside it tells, so that its name must.
#pragma once

#include <optional>
#include <string>

#include "engine/request/noise_name.h"
#include "engine/residency/parts.h"

namespace wan {

/// Which expert a network is; nothing for those that are none.
std::optional<NoiseLevel> level_of(Network network);

/// Of the name of a part and the folders of ModelPart::name: engine/request/noise_name.h.
std::optional<NoiseLevel> noise_level(const ModelPart& part);
bool says_both(const ModelPart& part);
std::string without_level(const ModelPart& part);

}  // namespace wan
