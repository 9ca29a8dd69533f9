// ViT as an image classifier. Source: transformers 4.57.6, modeling_vit.py (ViTForImageClassification).
#pragma once

#include "models/safety/encoder.h"

namespace wan::safety {

class Classifier {
 public:
  Classifier(Weights& weights, const ClassifierConfig& c);

  const ClassifierConfig& config() const { return config_; }
  /// pixels as Encoder::embeddings takes them -> [n, labels], before the softmax. `visit` sees the embeddings and the
  /// output of every layer, before the last norm.
  Tensor logits(const Tensor& pixels, const Visitor& visit = {}) const;

 private:
  ClassifierConfig config_;
  Encoder encoder_;
  LayerNorm layernorm_;
  Linear classifier_;
};

}  // namespace wan::safety
