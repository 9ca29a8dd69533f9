#include "models/safety/config.h"

#include <algorithm>
#include <optional>

#include "models/files/config_json.h"
#include "models/files/error.h"

namespace wan::safety {
namespace {

/// Larger than any such network, small enough that products of a few of them do not overflow.
constexpr int64_t kWidest = 1 << 14, kMostLayers = 1 << 10, kMostHeads = 1 << 10, kWidestInside = 1 << 17;
constexpr int64_t kLargestPicture = 1 << 12, kMostPatches = 1 << 12;
constexpr size_t kMostLabels = 100;

constexpr VisionConfig kVit = {.hidden_size = 768,
                               .num_hidden_layers = 12,
                               .num_attention_heads = 12,
                               .intermediate_size = 3072,
                               .image_size = 224,
                               .patch_size = 16,
                               .layer_norm_eps = 1e-12,
                               .hidden_act = Gelu::Erf};
constexpr VisionConfig kClip = {.hidden_size = 768,
                                .num_hidden_layers = 12,
                                .num_attention_heads = 12,
                                .intermediate_size = 3072,
                                .image_size = 224,
                                .patch_size = 32,
                                .layer_norm_eps = 1e-5,
                                .hidden_act = Gelu::Quick};
constexpr int64_t kClipProjection = 512;

std::string shown(const nlohmann::json& value) {
  return value.is_string() ? printable(value.get<std::string>())
                           : printable(value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

int64_t size_or(const ConfigJson& json, const char* key, int64_t most, int64_t otherwise) {
  return json.json().contains(key) ? json.size(key, 1, most) : otherwise;
}

/// A switch of which one position is known; where it is absent, it has that one.
void expect_or_absent(const ConfigJson& json, const char* key, const nlohmann::json& want) {
  if (json.json().contains(key)) json.expect(key, want);
}

Gelu gelu_of(const ConfigJson& json, Gelu otherwise) {
  const auto found = json.json().find("hidden_act");
  if (found == json.json().end()) return otherwise;
  json.require(
      *found == "gelu" || *found == "quick_gelu",
      "hidden_act must be gelu or quick_gelu, got " + shown(*found) + "; take the file of the published model");
  return *found == "gelu" ? Gelu::Erf : Gelu::Quick;
}

VisionConfig read_vision(const ConfigJson& json, const VisionConfig& otherwise) {
  expect_or_absent(json, "num_channels", 3);
  VisionConfig config{
      .hidden_size = size_or(json, "hidden_size", kWidest, otherwise.hidden_size),
      .num_hidden_layers = size_or(json, "num_hidden_layers", kMostLayers, otherwise.num_hidden_layers),
      .num_attention_heads = size_or(json, "num_attention_heads", kMostHeads, otherwise.num_attention_heads),
      .intermediate_size = size_or(json, "intermediate_size", kWidestInside, otherwise.intermediate_size),
      .image_size = size_or(json, "image_size", kLargestPicture, otherwise.image_size),
      .patch_size = size_or(json, "patch_size", kLargestPicture, otherwise.patch_size),
      .layer_norm_eps =
          json.json().contains("layer_norm_eps") ? json.epsilon("layer_norm_eps") : otherwise.layer_norm_eps,
      .hidden_act = gelu_of(json, otherwise.hidden_act),
  };
  json.require(config.hidden_size % config.num_attention_heads == 0,
               "hidden_size must be a multiple of num_attention_heads");
  json.require(config.patch_size <= config.image_size && config.side() * config.side() <= kMostPatches,
               "image_size must hold 1 to " + std::to_string(kMostPatches) + " patches of patch_size, got " +
                   std::to_string(config.image_size) + " and " + std::to_string(config.patch_size));
  expect_or_absent(json, "head_dim", config.hidden_size / config.num_attention_heads);
  return config;
}

std::vector<std::string> read_labels(const ConfigJson& json) {
  const auto found = json.json().find("id2label");
  json.require(found != json.json().end() && found->is_object() && found->size() >= 2 && found->size() <= kMostLabels,
               "id2label must name 2 to " + std::to_string(kMostLabels) +
                   " labels, one of them nsfw; take a safety checker such as Falconsai/nsfw_image_detection");
  std::vector<std::string> labels;
  for (size_t i = 0; i < found->size(); ++i) {
    const auto label = found->find(std::to_string(i));
    json.require(label != found->end() && label->is_string(),
                 "id2label must have a word for each number from 0 to " + std::to_string(found->size() - 1) +
                     ", lacks " + std::to_string(i) + "; take the file of the published model");
    labels.push_back(label->get<std::string>());
  }
  return labels;
}

bool is_nsfw(const std::string& label) {
  constexpr std::string_view kLabel = "nsfw";
  return std::equal(label.begin(), label.end(), kLabel.begin(), kLabel.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

ClassifierConfig read_classifier(const ConfigJson& json) {
  constexpr size_t kShown = 5;
  expect_or_absent(json, "qkv_bias", true);
  if (const auto type = json.json().find("problem_type"); type != json.json().end() && !type->is_null())
    json.expect("problem_type", "single_label_classification");
  ClassifierConfig config{.vision = read_vision(json, kVit), .labels = read_labels(json), .nsfw = 0};
  const auto first = std::find_if(config.labels.begin(), config.labels.end(), is_nsfw);
  std::string names;
  for (size_t i = 0; i < std::min(config.labels.size(), kShown); ++i)
    names += (i ? ", " : "") + printable(config.labels[i]);
  json.require(std::count_if(config.labels.begin(), config.labels.end(), is_nsfw) == 1,
               "id2label must have the label nsfw once, has: " + names +
                   (config.labels.size() > kShown ? ", ..." : "") +
                   "; take a safety checker such as Falconsai/nsfw_image_detection");
  config.nsfw = size_t(first - config.labels.begin());
  return config;
}

/// The description of the picture encoder. Where both are there, transformers' CLIPConfig takes the second, with its
/// defaults.
ConfigJson vision_json(const ConfigJson& json) {
  for (const char* key : {"vision_config_dict", "vision_config"})
    if (const auto found = json.json().find(key); found != json.json().end() && !found->is_null())
      return ConfigJson(*found, json.label() + ": " + key);
  throw ModelError(json.label(),
                   "vision_config must describe the picture encoder, is absent; take the file of the "
                   "published model");
}

ConceptsConfig read_concepts(const ConfigJson& json) {
  return {.vision = read_vision(vision_json(json), kClip),
          .projection_dim = size_or(json, "projection_dim", kWidest, kClipProjection)};
}

}  // namespace

const VisionConfig& vision_of(const Config& config) {
  return std::visit([](const auto& kind) -> const VisionConfig& { return kind.vision; }, config);
}

Config read_config(const std::filesystem::path& file) {
  const ConfigJson json = ConfigJson::read(file);
  const auto type = json.json().find("model_type");
  const std::string word = type != json.json().end() && type->is_string() ? type->get<std::string>() : "";
  if (word == "vit") return read_classifier(json);
  if (word == "clip") return read_concepts(json);
  throw ModelError(json.label(),
                   "model_type must be vit (an image classifier) or clip (the Stable Diffusion safety checker), is " +
                       (word.empty() ? "absent" : printable(word)) + "; name the folder of another safety checker");
}

const char* name_of(const Config& config) {
  return std::holds_alternative<ClassifierConfig>(config) ? "image classifier (ViT)"
                                                          : "Stable Diffusion safety checker";
}

}  // namespace wan::safety
