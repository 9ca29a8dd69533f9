#include "engine/request/geometry.h"

#include <cmath>
#include <stdexcept>

#include "engine/base/error.h"

namespace wan {
namespace {

void check_sides(int64_t width, int64_t height, int64_t area) {
  if (width < 1 || height < 1 || area < 1) throw std::invalid_argument("a size needs sides and an area above 0");
}

int64_t rounded_up(double side, int64_t step) {
  return (int64_t(side) + step - 1) / step * step;
}
int64_t rounded_down(double side, int64_t step) {
  return int64_t(side / double(step)) * step;
}

}  // namespace

int64_t rendered_frames(Task task, int64_t num_frames) {
  return task == Task::S2V ? (num_frames + 3) / 4 * 4 : (num_frames + 2) / 4 * 4 + 1;
}

int64_t area_of(const std::string& resolution) {
  Size wide = size_of(resolution, "16:9");
  return wide.width * wide.height;
}

Size size_of(const std::string& resolution, const std::string& aspect_ratio) {
  struct Row {
    const char* resolution;
    Size wide;
    int64_t square;  // the largest multiple of 16 whose square has no more pixels than `wide`
  };
  constexpr Row kRows[] = {{"480p", {832, 480}, 624}, {"580p", {1024, 576}, 768}, {"720p", {1280, 720}, 960}};
  for (const Row& row : kRows) {
    if (resolution != row.resolution) continue;
    if (aspect_ratio == "16:9") return row.wide;
    if (aspect_ratio == "9:16") return {row.wide.height, row.wide.width};
    if (aspect_ratio == "1:1") return {row.square, row.square};
  }
  throw std::invalid_argument("no size for " + resolution + " and " + aspect_ratio);
}

Size size_by_area(int64_t image_width, int64_t image_height, int64_t max_area) {
  check_sides(image_width, image_height, max_area);
  // In double and in this order, as the reference: the last bit decides between two multiples of 16.
  const double aspect = double(image_height) / double(image_width);
  auto latent = [](double side) { return 2 * int64_t(std::floor(std::floor(side / 8) / 2)); };
  return {8 * latent(std::sqrt(double(max_area) / aspect)), 8 * latent(std::sqrt(double(max_area) * aspect))};
}

Size speech_size_by_area(int64_t image_width, int64_t image_height, int64_t max_area) {
  check_sides(image_width, image_height, max_area);
  constexpr int64_t kStep = 64;
  const double w = double(image_width), h = double(image_height), area = double(max_area);
  double low = 0.1, high = 1.0;
  if (w * h > area) {
    const double a = h * w, b = (kStep - 1) * (h + w), c = (kStep - 1) * (kStep - 1) - area;
    low = (-b + std::sqrt(b * b - 2 * a * c)) / (2 * a);  // 2ac, not 4ac: so in the reference
    high = std::sqrt(area / a);
  }
  constexpr int kTries = 100;
  for (int i = 0; i < kTries && std::isfinite(low); ++i) {
    const double scale = high - (high - low) * i / kTries;
    Size size = {rounded_up(w * scale, kStep), rounded_up(h * scale, kStep)};
    if (size.width * size.height <= max_area) return size;
  }
  return {rounded_down(std::sqrt(area * w / h), kStep), rounded_down(std::sqrt(area * h / w), kStep)};
}

Size video_size(const Request& request, int64_t input_width, int64_t input_height) {
  if (request.width > 0) return {request.width, request.height};
  const int64_t area = area_of(request.resolution);
  Size size = request.task == Task::S2V ? speech_size_by_area(input_width, input_height, area)
                                        : size_by_area(input_width, input_height, area);
  if (size.width > 0 && size.height > 0) return size;
  const char* field = request.task == Task::V2V ? "video_url" : "image_url";
  throw InvalidRequest(field, "must have a shape that fits in " + std::to_string(area) + " pixels, got " +
                                  std::to_string(input_width) + "x" + std::to_string(input_height) +
                                  "; --width and --height crop it");
}

void settle_size(const Request& request, int64_t input_width, int64_t input_height, Geometry& geometry) {
  const Size size = video_size(request, input_width, input_height);
  geometry.width = size.width;
  geometry.height = size.height;
}

Geometry asked_geometry(const Request& request) {
  return {request.width, request.height, request.num_frames};
}

}  // namespace wan
