// CLIP's picture encoder with its projection. Source: transformers 4.57.6, modeling_clip.py (CLIPVisionTransformer), and
// diffusers 0.35.2, safety_checker.py (StableDiffusionSafetyChecker).
#pragma once

#include "models/safety/encoder.h"

namespace wan::safety {

class ClipVision {
 public:
  ClipVision(Weights& weights, const ConceptsConfig& c);

  const ConceptsConfig& config() const { return config_; }
  /// pixels as Encoder::embeddings takes them -> [n, projection_dim]. `visit` sees the embeddings after the first norm and
  /// the output of every layer.
  Tensor embeds(const Tensor& pixels, const Visitor& visit = {}) const;

 private:
  ConceptsConfig config_;
  Encoder encoder_;
  LayerNorm pre_layrnorm_, post_layernorm_;  // the first is spelled so in the files
  Linear visual_projection_;
};

}  // namespace wan::safety
