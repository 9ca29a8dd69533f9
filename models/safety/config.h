// Sizes of the two safety checkers, as their config.json states them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace wan::safety {

enum class Gelu {
  Erf,    // x * Phi(x): "gelu"
  Quick,  // x * sigmoid(1.702 x): "quick_gelu"
};

/// A vision transformer. The members carry config.json's words. ViT-B/16: 768 wide, 12 layers, 12 heads, pictures of 224
/// pixels in patches of 16; CLIP ViT-L/14: 1024, 24, 16, 224 and 14.
struct VisionConfig {
  int64_t hidden_size, num_hidden_layers, num_attention_heads, intermediate_size;
  int64_t image_size, patch_size;  // pixels of a side
  double layer_norm_eps;
  Gelu hidden_act;

  /// Whole patches along a side of the picture; what is left beyond them is not seen.
  int64_t side() const { return image_size / patch_size; }
  /// The class token and the patches.
  int64_t tokens() const { return side() * side() + 1; }
};

/// An image classifier with a label "nsfw", such as Falconsai/nsfw_image_detection. Source: ViTForImageClassification.
struct ClassifierConfig {
  VisionConfig vision;
  std::vector<std::string> labels;
  size_t nsfw;  // which of them
};

/// CLIP's picture encoder, whose embeddings are compared with those of concepts: CompVis/stable-diffusion-safety-checker.
struct ConceptsConfig {
  VisionConfig vision;
  int64_t projection_dim;
};

using Config = std::variant<ClassifierConfig, ConceptsConfig>;

const VisionConfig& vision_of(const Config& config);

/// "model_type" tells which one it is. Sizes that the file leaves out are the defaults of transformers' ViTConfig and
/// CLIPVisionConfig, as its writers leave those out. Throws ModelError where the file is absent, is no JSON, is of another
/// network, has a size out of range or names no label nsfw.
Config read_config(const std::filesystem::path& file);

/// "image classifier (ViT)", "Stable Diffusion safety checker".
const char* name_of(const Config& config);

}  // namespace wan::safety
