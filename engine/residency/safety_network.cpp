#include "engine/residency/safety_network.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>
#include <variant>
#include <vector>

#include "engine/base/listing.h"
#include "engine/base/text.h"
#include "engine/residency/part_paths.h"
#include "models/files/error.h"
#include "models/weights/format/layout.h"
#include "models/weights/scope.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPublished =
    "; a safety checker is published as Falconsai/nsfw_image_detection (343 MB) and as "
    "CompVis/stable-diffusion-safety-checker (1.2 GB), each with config.json and preprocessor_config.json";

/// Everything about a checker that its headers tell.
struct Opened {
  safety::Config config;
  safety::Preprocessing preprocessing;
  Checkpoint checkpoint;
};

Opened open(const SafetyFiles& files) {
  const safety::Config config = safety::read_config(files.config);
  const safety::Preprocessing preprocessing = safety::Preprocessing::read(files.preprocessor, config);
  if (!holds_checkpoint(files.folder))
    throw ModelError(files.folder.string(),
                     std::string("must hold model.safetensors or pytorch_model.bin, holds neither") + kPublished);
  return {config, preprocessing, safety::official_names(Checkpoint::open(files.folder), config)};
}

void check_finite(const Checkpoint& checkpoint) {
  for (const auto& [name, stored] : checkpoint.tensors())
    if (const at::Tensor values = checkpoint.map(name);
        values.is_floating_point() && !values.to(at::kFloat).isfinite().all().item<bool>())
      throw ModelError(checkpoint.label() + ": " + name,
                       "must be finite, has NaN or Inf: the file is damaged; download it again");
}

Place place_on(const Placement& placement) {
  return Place::on(placement.device, at::kFloat, Precision::Exact, placement.context);
}

/// Of one picture: residual, its norm, q, k, v and the attention's result, beside the four times as wide hidden layer of the
/// MLP, and on a GPU the logits of all heads.
uint64_t activations_of(const safety::VisionConfig& c) {
  const int64_t rows = c.tokens() * (6 * c.hidden_size + 2 * c.intermediate_size);
  const int64_t logits = 2 * c.num_attention_heads * c.tokens() * c.tokens();
  const int64_t pixels = 2 * 3 * c.image_size * c.image_size;
  return uint64_t(rows + logits + pixels) * sizeof(float);
}

/// The number of bytes of the weights in the place that they will have.
SafetyNeeds needs_of(const Opened& opened, const Placement& placement) {
  Weights weights(opened.checkpoint, place_on(placement).planned());
  const auto network = safety::make_checker(weights, opened.config);
  weights.finish();
  return {bytes_of(weights.taken()), activations_of(network->vision())};
}

bool has(const fs::path& file) {
  if (const std::string why = closed_to_us(file); !why.empty())
    throw ModelError(file.string(), "must be a file of a safety checker, cannot be looked at: " + why);
  return is_there(file);
}

}  // namespace

SafetyFiles find_safety_checker(const fs::path& place) {
  const fs::path root = without_slash(place);
  if (const std::string why = closed_to_us(root); !why.empty())
    throw ModelError(root.string(), "must be the folder of a safety checker, cannot be looked at: " + why);
  if (!is_there(root))
    throw ModelError(root.string(), std::string("must be the folder of a safety checker, is not there") + kPublished);
  if (!is_folder(root))
    throw ModelError(
        root.string(),
        "must be the folder of a safety checker, is a file; name the folder, which holds config.json, too");
  const bool whole = !has(root / "config.json") && has(root / "safety_checker" / "config.json");
  const fs::path folder = whole ? root / "safety_checker" : root;
  if (!has(folder / "config.json"))
    throw ModelError(folder.string(), std::string("must hold config.json, which tells which safety checker it is, "
                                                  "holds none") +
                                          kPublished);
  fs::path preprocessor = folder / "preprocessor_config.json";
  const fs::path beside = fs::absolute(folder).parent_path() / "feature_extractor" / "preprocessor_config.json";
  if (!has(preprocessor) && has(beside)) preprocessor = beside;
  if (!has(preprocessor))
    throw ModelError(folder.string(),
                     "must hold preprocessor_config.json, which tells how pictures are resized, holds "
                     "none; of Stable Diffusion it lies in the folder feature_extractor beside");
  return {folder, folder / "config.json", preprocessor};
}

SafetyNetwork::SafetyNetwork(const SafetyFiles& files, const Placement& placement) : device_(placement.device) {
  Opened opened = open(files);
  preprocessing_ = opened.preprocessing;
  const SafetyNeeds needs = needs_of(opened, placement);
  check_finite(opened.checkpoint);
  if (placement.budget) lease_ = placement.budget->take(needs.weights + needs.activations, "safety checker");
  Weights weights(std::move(opened.checkpoint), place_on(placement));
  checker_ = safety::make_checker(weights, opened.config);
  weights.finish();
  // It computes on another stream than the one that its weights were copied by.
  if (placement.device.is_cuda())
    c10::impl::VirtualGuardImpl(placement.device.type()).synchronizeDevice(placement.device.index());
}

SafetyNeeds safety_needs(const SafetyFiles& files, const Placement& placement) {
  return needs_of(open(files), placement);
}

std::string safety_description(const safety::Config& config) {
  const safety::VisionConfig& c = safety::vision_of(config);
  std::string text;
  if (const auto* classifier = std::get_if<safety::ClassifierConfig>(&config)) {
    std::vector<std::string> labels;
    for (const std::string& label : classifier->labels) labels.push_back(printable(label));
    text = "labels " + listed(labels) + ", ";
  } else {
    text = "concepts in " + std::to_string(std::get<safety::ConceptsConfig>(config).projection_dim) + " dimensions, ";
  }
  return text + std::to_string(c.num_hidden_layers) + " layers of " + std::to_string(c.hidden_size) + ", pictures of " +
         std::to_string(c.image_size) + " pixels in patches of " + std::to_string(c.patch_size);
}

}  // namespace wan
