#include "models/safety/clip_vision.h"

#include <ATen/ATen.h>

namespace wan::safety {
namespace {

const Words kWords = {.class_token = "embeddings.class_embedding",
                      .before_class = {},
                      .position = "embeddings.position_embedding.weight",
                      .before_position = {},
                      .patch = "embeddings.patch_embedding",
                      .patch_bias = Bias::No,
                      .layers = "encoder.layers",
                      .query = "self_attn.q_proj",
                      .key = "self_attn.k_proj",
                      .value = "self_attn.v_proj",
                      .out = "self_attn.out_proj",
                      .norm_before = "layer_norm1",
                      .norm_after = "layer_norm2",
                      .first = "mlp.fc1",
                      .second = "mlp.fc2"};

Scope vision_root(Weights& weights) {
  return weights.root() / "vision_model" / "vision_model";
}

}  // namespace

ClipVision::ClipVision(Weights& weights, const ConceptsConfig& c)
    : config_(c),
      encoder_(vision_root(weights), c.vision, kWords),
      pre_layrnorm_(vision_root(weights) / "pre_layrnorm", c.vision.hidden_size, c.vision.layer_norm_eps),
      post_layernorm_(vision_root(weights) / "post_layernorm", c.vision.hidden_size, c.vision.layer_norm_eps),
      visual_projection_(weights.root() / "visual_projection", c.vision.hidden_size, c.projection_dim, at::kFloat,
                         Bias::No, Role::Float32) {}

Tensor ClipVision::embeds(const Tensor& pixels, const Visitor& visit) const {
  const Tensor first = pre_layrnorm_(encoder_.embeddings(pixels), at::kFloat);
  const Tensor last = encoder_.layers(first, visit);
  return visual_projection_(post_layernorm_(last.select(1, 0).contiguous(), at::kFloat));
}

}  // namespace wan::safety
