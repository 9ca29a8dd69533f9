#include "models/safety/preprocessing.h"

#include <cmath>
#include <string>
#include <string_view>
#include <variant>

#include "models/files/config_json.h"
#include "models/files/error.h"

namespace wan::safety {
namespace {

constexpr int64_t kLargest = 1 << 13;

constexpr Preprocessing kVit = {.resample = Preprocessing::Filter::Bilinear,
                                .shortest_edge = 0,
                                .size = 224,
                                .rescale_factor = 1.0 / 255,
                                .image_mean = {0.5, 0.5, 0.5},
                                .image_std = {0.5, 0.5, 0.5}};
constexpr Preprocessing kClip = {.resample = Preprocessing::Filter::Bicubic,
                                 .shortest_edge = 224,
                                 .size = 224,
                                 .rescale_factor = 1.0 / 255,
                                 .image_mean = {0.48145466, 0.4578275, 0.40821073},
                                 .image_std = {0.26862954, 0.26130258, 0.27577711}};

bool is_given(const ConfigJson& json, const char* key) {
  const auto found = json.json().find(key);
  return found != json.json().end() && !found->is_null();
}

/// Whether the file's processor is CLIP's.
bool is_clip(const ConfigJson& json, const Config& config) {
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    const auto found = json.json().find(key);
    if (found == json.json().end() || !found->is_string()) continue;
    const std::string type = found->get<std::string>();
    for (const char* kind : {"CLIP", "ViT"})
      for (const char* end : {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"})
        if (type == std::string(kind) + end) return kind == std::string_view("CLIP");
    throw ModelError(json.label(), std::string(key) + " must be ViTImageProcessor or CLIPImageProcessor, is " +
                                       printable(type) + "; take the file of the published model");
  }
  return std::holds_alternative<ConceptsConfig>(config);
}

std::array<double, 3> numbers_of(const ConfigJson& json, const char* key, const std::array<double, 3>& otherwise,
                                 bool above_zero) {
  if (!is_given(json, key)) return otherwise;
  const nlohmann::json& list = json.json().at(key);
  std::array<double, 3> numbers{};
  bool right = list.is_array() && list.size() == numbers.size();
  for (size_t i = 0; right && i < numbers.size(); ++i) {
    right = list[i].is_number();
    if (right) numbers[i] = list[i].get<double>();
    right = right && std::abs(numbers[i]) <= 1000 && (!above_zero || numbers[i] > 1e-6);
  }
  json.require(right, std::string(key) + " must be three numbers" + (above_zero ? " above 0" : "") +
                          "; take the file of the published model");
  return numbers;
}

/// One number, which is both sides, or an object with equal height and width.
int64_t square(const ConfigJson& json, const char* key, int64_t otherwise) {
  if (!is_given(json, key)) return otherwise;
  if (!json.json().at(key).is_object()) return json.size(key, 1, kLargest);
  const ConfigJson sides(json.json().at(key), json.label() + ": " + key);
  const int64_t height = sides.size("height", 1, kLargest), width = sides.size("width", 1, kLargest);
  sides.require(height == width,
                "height and width must be equal, are " + std::to_string(height) + " and " + std::to_string(width));
  return height;
}

void read_sizes(const ConfigJson& json, bool clip, Preprocessing& read) {
  if (!clip) {
    json.require(!is_given(json, "do_center_crop") || json.json().at("do_center_crop") == false,
                 "do_center_crop must be false for ViTImageProcessor, which does not crop");
    read.size = square(json, "size", read.size);
    return;
  }
  if (is_given(json, "do_center_crop")) json.expect("do_center_crop", true);
  read.size = square(json, "crop_size", read.size);
  const auto size = json.json().find("size");
  if (size != json.json().end() && size->is_object() && size->contains("shortest_edge")) {
    read.shortest_edge = ConfigJson(*size, json.label() + ": size").size("shortest_edge", 1, kLargest);
    json.require(size->size() == 1, "size must have shortest_edge alone; take the file of the published model");
  } else if (size != json.json().end() && size->is_object()) {
    json.require(square(json, "size", 0) == read.size,
                 "size must equal crop_size where it has height and width; take the file of the published model");
    read.shortest_edge = 0;
  } else {
    read.shortest_edge = square(json, "size", read.shortest_edge);
  }
  json.require(
      read.shortest_edge == 0 || read.shortest_edge >= read.size,
      "size must be at least crop_size, " + std::to_string(read.size) + ", is " + std::to_string(read.shortest_edge));
}

}  // namespace

Preprocessing Preprocessing::read(const std::filesystem::path& file, const Config& config) {
  const ConfigJson json = ConfigJson::read(file);
  const bool clip = is_clip(json, config);
  Preprocessing read = clip ? kClip : kVit;
  for (const char* step : {"do_resize", "do_rescale", "do_normalize"})
    if (is_given(json, step)) json.expect(step, true);
  if (is_given(json, "resample")) read.resample = Filter(json.size("resample", 1, 3));
  if (is_given(json, "rescale_factor")) read.rescale_factor = json.epsilon("rescale_factor");
  read.image_mean = numbers_of(json, "image_mean", read.image_mean, false);
  read.image_std = numbers_of(json, "image_std", read.image_std, true);
  read_sizes(json, clip, read);
  const int64_t wanted = vision_of(config).image_size;
  json.require(read.size == wanted, "must make pictures of " + std::to_string(wanted) +
                                        " pixels, as config.json beside it says, makes " + std::to_string(read.size) +
                                        "; take both files of one model");
  return read;
}

}  // namespace wan::safety
