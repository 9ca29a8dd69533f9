// Sizes as OpenAI's calls have them, WIDTHxHEIGHT, and the endpoints' size classes and shapes.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/geometry.h"

namespace wan::serve {

/// "1280x720" in pixels; nothing for other texts.
std::optional<Size> read_pixels(const std::string& text);
/// "1280x720".
std::string pixels_text(const Size& size);

struct NearestSize {
  std::string resolution, aspect_ratio;
  Size size;
};
/// Of these size classes ("480p") and shapes ("16:9"; auto is none) the one whose sides differ least from `asked`, by
/// their ratios. Without shapes the area alone counts.
NearestSize nearest_size(const Size& asked, const std::vector<std::string>& resolutions,
                         const std::vector<std::string>& shapes);

/// Width x height of a job's video as far as its fields tell; "auto" where its input decides.
std::string size_text(const nlohmann::json& fields);

}  // namespace wan::serve
