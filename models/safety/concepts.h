// The concepts of the Stable Diffusion safety checker: embeddings with a threshold each. Source: diffusers 0.35.2,
// safety_checker.py (StableDiffusionSafetyChecker.forward).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/weights/scope.h"

namespace wan::safety {

using at::Tensor;

/// How far a picture's embedding lies beyond the threshold of each concept: round(cosine - threshold, 3), in thousandths.
/// Above 0 the picture shows it.
struct ConceptScores {
  std::vector<int64_t> special_care;  // those that make the other thresholds stricter
  std::vector<int64_t> concepts;      // with 10 added where one of special care is above 0
  bool finite = true;                 // else the embedding or a threshold is NaN or Inf, and nothing is told
};

class Concepts {
 public:
  /// Takes concept_embeds [17, width], special_care_embeds [3, width] and the thresholds of each, *_weights; as many as the
  /// file has. Throws ModelError for more than 1,000.
  Concepts(Weights& weights, int64_t width);

  /// embeds [n, width] float32 -> one for each row.
  std::vector<ConceptScores> operator()(const Tensor& embeds) const;

 private:
  struct Group {
    Weight embeds, thresholds;
  };
  static Group group(Weights& weights, const char* name, int64_t width);

  Group special_care_, concepts_;
};

}  // namespace wan::safety
