#include "engine/serve/api/openai_size.h"

#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "engine/serve/net/text.h"

namespace wan::serve {
namespace {

/// How far one size is from another; with `has_shape` false its area alone counts.
double distance_of(const Size& one, const Size& other, bool has_shape) {
  const double width = std::log(double(one.width) / double(other.width));
  const double height = std::log(double(one.height) / double(other.height));
  return has_shape ? std::hypot(width, height) : std::abs(width + height);
}

}  // namespace

std::optional<Size> read_pixels(const std::string& text) {
  const size_t by = text.find('x');
  if (by == text.npos) return std::nullopt;
  int64_t sides[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    const std::string side = i == 0 ? text.substr(0, by) : text.substr(by + 1);
    if (side.empty() || side.size() > 5 || !all_are(side, "0123456789")) return std::nullopt;
    sides[i] = std::stoll(side);
  }
  if (sides[0] == 0 || sides[1] == 0) return std::nullopt;
  return Size{sides[0], sides[1]};
}

std::string pixels_text(const Size& size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

NearestSize nearest_size(const Size& asked, const std::vector<std::string>& resolutions,
                         const std::vector<std::string>& shapes) {
  const bool has_shape = !shapes.empty();
  const std::vector<std::string> any(1, "16:9");
  NearestSize nearest;
  for (const std::string& resolution : resolutions)
    for (const std::string& shape : has_shape ? shapes : any) {
      if (shape == "auto") continue;
      const Size size = size_of(resolution, shape);
      const bool is_first = nearest.resolution.empty();
      if (!is_first && distance_of(size, asked, has_shape) >= distance_of(nearest.size, asked, has_shape)) continue;
      nearest.resolution = resolution;
      nearest.aspect_ratio = shape;
      nearest.size = size;
    }
  return nearest;
}

std::string size_text(const nlohmann::json& fields) {
  if (!fields.is_object()) return "auto";
  const auto width = fields.find("width"), height = fields.find("height");
  if (width != fields.end() && height != fields.end() && width->is_number_integer() && height->is_number_integer())
    return width->dump() + "x" + height->dump();
  const std::string resolution = fields.value("resolution", ""), shape = fields.value("aspect_ratio", "auto");
  if (resolution.empty() || shape == "auto") return "auto";
  try {
    return pixels_text(size_of(resolution, shape));
  } catch (const std::invalid_argument&) {  // of a record that another version wrote
    return "auto";
  }
}

}  // namespace wan::serve
