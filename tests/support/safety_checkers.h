// Safety checkers at a size that a test can run, whose verdicts follow from the pictures' brightness.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "models/weights/format/safetensors.h"

namespace wan {

/// What a made-up checker flags at its own threshold, 0.5.
enum class Flags { Nothing, Everything, Bright };

/// The scores of the first two, whatever the picture shows: 1 / (1 + e^3), 1 / (1 + e^-3), to six places.
inline constexpr double kScoreOfNothing = 0.047426, kScoreOfEverything = 0.952574;

/// One layer in which the class token takes the mean of all patches, of which each has its brightness b from -1 to 1 as (b,
/// -b, 1, -1): after the last norm its first number has the sign of the mean brightness.
inline std::map<std::string, at::Tensor> safety_weights(Flags flags) {
  constexpr int64_t kWidth = 4, kPatch = 8, kTokens = 5;
  std::map<std::string, at::Tensor> tensors;
  const at::Tensor signs = at::tensor({1.0F, -1.0F, 0.0F, 0.0F}), constant = at::tensor({0.0F, 0.0F, 1.0F, -1.0F});
  tensors["vit.embeddings.cls_token"] = constant.view({1, 1, kWidth}).clone();
  tensors["vit.embeddings.position_embeddings"] = at::zeros({1, kTokens, kWidth});
  tensors["vit.embeddings.patch_embeddings.projection.weight"] =
      (signs.view({kWidth, 1, 1, 1}) / float(3 * kPatch * kPatch)).expand({kWidth, 3, kPatch, kPatch}).clone();
  tensors["vit.embeddings.patch_embeddings.projection.bias"] = constant.clone();
  const std::string layer = "vit.encoder.layer.0.";
  for (const char* name :
       {"attention.attention.query", "attention.attention.key", "intermediate.dense", "output.dense"}) {
    tensors[layer + name + ".weight"] = at::zeros({kWidth, kWidth});
    tensors[layer + name + ".bias"] = at::zeros({kWidth});
  }
  for (const char* name : {"attention.attention.value", "attention.output.dense"}) {
    tensors[layer + name + ".weight"] = at::eye(kWidth);
    tensors[layer + name + ".bias"] = at::zeros({kWidth});
  }
  for (const std::string& norm :
       {layer + "layernorm_before", layer + "layernorm_after", std::string("vit.layernorm")}) {
    tensors[norm + ".weight"] = at::ones({kWidth});
    tensors[norm + ".bias"] = at::zeros({kWidth});
  }
  at::Tensor weight = at::zeros({2, kWidth}), bias = at::zeros({2});
  if (flags == Flags::Bright)
    weight[1][0] = 40;
  else
    bias[1] = flags == Flags::Everything ? 3 : -3;
  tensors["classifier.weight"] = weight;
  tensors["classifier.bias"] = bias;
  return tensors;
}

/// A folder as Falconsai/nsfw_image_detection is published.
inline std::string write_safety_checker(const std::filesystem::path& folder, Flags flags,
                                        const nlohmann::json& more = nlohmann::json::object()) {
  std::filesystem::create_directories(folder);
  nlohmann::json config = {
      {"model_type", "vit"},      {"hidden_size", 4},       {"num_hidden_layers", 1},
      {"num_attention_heads", 1}, {"intermediate_size", 4}, {"image_size", 16},
      {"patch_size", 8},          {"hidden_act", "gelu"},   {"id2label", {{"0", "normal"}, {"1", "nsfw"}}}};
  config.update(more);
  std::ofstream(folder / "config.json") << config;
  std::ofstream(folder / "preprocessor_config.json")
      << R"({"do_resize": true, "do_rescale": true, "do_normalize": true, "size": {"height": 16, "width": 16},)"
      << R"( "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2,)"
      << R"( "rescale_factor": 0.00392156862745098, "image_processor_type": "ViTImageProcessor"})";
  write_safetensors((folder / "model.safetensors").string(), safety_weights(flags));
  return folder.string();
}

}  // namespace wan
