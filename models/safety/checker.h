// A safety checker of pictures, whichever it is.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "models/safety/config.h"
#include "models/weights/checkpoint.h"
#include "models/weights/scope.h"

namespace wan::safety {

using at::Tensor;

/// What a checker says of one picture.
struct Finding {
  /// Of a classifier the probability of its label nsfw, from 0 to 1. Of concepts the largest distance beyond a threshold,
  /// round(cosine - threshold, 3). NaN where the network gives no number.
  double score;
  /// Of concepts those of each; empty of a classifier.
  std::vector<double> concepts = {}, special_care = {};
};

class Checker {
 public:
  virtual ~Checker() = default;

  virtual const Config& config() const = 0;
  /// pixels [n, 3, image_size, image_size] float32, normalised, on its device -> one finding for each picture. Each is
  /// computed by itself, so that what is said of it does not depend on the others. Throws c10::Error for other shapes.
  virtual std::vector<Finding> operator()(const Tensor& pixels) const = 0;

  const VisionConfig& vision() const { return vision_of(config()); }
  /// A picture is flagged where its score is above this, as published: 0.5 of a classifier, 0 of concepts.
  double threshold() const;
  /// What was found in a picture with a score above `threshold`, for people: "nsfw", "concepts 3, 7". Empty where its score
  /// is not above it.
  std::string found(const Finding& finding, double threshold) const;
};

/// `checkpoint` by the names of the published files, whichever spelling it has, without what the network has no use for.
/// Throws ModelError where two names become one, and where no tensor is one of such a network.
Checkpoint official_names(const Checkpoint& checkpoint, const Config& config);

/// Builds the network from tensors by their official names. The caller ends with `weights.finish()`. Throws ModelError.
std::unique_ptr<Checker> make_checker(Weights& weights, const Config& config);

}  // namespace wan::safety
