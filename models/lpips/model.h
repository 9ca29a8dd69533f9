// LPIPS: how far two pictures are from each other for an eye, as features of a network trained to classify tell it. Source:
// Zhang et al., CVPR 2018, version 0.1 of its release (package lpips 0.1.4); the dropout of its linear layers is of training.
// On the CPU, in float32; the bytes do not depend on the number of threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "models/lpips/network.h"
#include "models/weights/scope.h"
#include "models/weights/weight.h"

namespace wan::lpips {

class Model {
 public:
  /// Takes the backbone's tensors from `features` and the linear layers from `heads`, which may be the same; counts as used
  /// what LPIPS does not need of them (a classifier, the second names of the linear layers, the constants of the scaling
  /// layer). The caller ends with finish() of both. `of_features` and `of_heads` are what the files hold (contents_of).
  Model(Weights& features, const Contents& of_features, Weights& heads, const Contents& of_heads);

  Backbone backbone() const { return backbone_; }
  /// What each of the taps adds to the distance. `first` and `second`: uint8 [H, W, 3] RGB on the CPU, of one size, sides
  /// from least_side on. Throws c10::Error for others.
  std::vector<double> taps(const at::Tensor& first, const at::Tensor& second) const;
  /// Their sum: 0 for equal pictures, and NaN where the weights give one.
  double distance(const at::Tensor& first, const at::Tensor& second) const;

 private:
  struct Convolution {
    Layer layer;
    Weight weight, bias;
  };

  Backbone backbone_;
  std::vector<Convolution> convolutions_;
  std::vector<Weight> heads_;  // [C] of each tap
};

}  // namespace wan::lpips
