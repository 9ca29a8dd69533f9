#include "models/safety/vit.h"

#include <ATen/ATen.h>

namespace wan::safety {
namespace {

const Words kWords = {.class_token = "embeddings.cls_token",
                      .before_class = {1, 1},
                      .position = "embeddings.position_embeddings",
                      .before_position = {1},
                      .patch = "embeddings.patch_embeddings.projection",
                      .patch_bias = Bias::Yes,
                      .layers = "encoder.layer",
                      .query = "attention.attention.query",
                      .key = "attention.attention.key",
                      .value = "attention.attention.value",
                      .out = "attention.output.dense",
                      .norm_before = "layernorm_before",
                      .norm_after = "layernorm_after",
                      .first = "intermediate.dense",
                      .second = "output.dense"};

}  // namespace

Classifier::Classifier(Weights& weights, const ClassifierConfig& c)
    : config_(c),
      encoder_(weights.root() / "vit", c.vision, kWords),
      layernorm_(weights.root() / "vit" / "layernorm", c.vision.hidden_size, c.vision.layer_norm_eps),
      classifier_(weights.root() / "classifier", c.vision.hidden_size, int64_t(c.labels.size()), at::kFloat, Bias::Yes,
                  Role::Float32) {}

Tensor Classifier::logits(const Tensor& pixels, const Visitor& visit) const {
  const Tensor last = encoder_.layers(encoder_.embeddings(pixels), visit);
  return classifier_(layernorm_(last.select(1, 0).contiguous(), at::kFloat));
}

}  // namespace wan::safety
