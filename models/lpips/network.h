// The two networks that LPIPS is published for, and how files name their tensors. Source: Zhang et al., The Unreasonable
// Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018; names of the packages lpips 0.1.4 and torchvision.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "models/weights/stored_tensor.h"

namespace wan::lpips {

enum class Backbone { AlexNet, Vgg16 };

/// "AlexNet", "VGG16".
const char* name(Backbone backbone);

/// A convolution with its ReLU.
struct Layer {
  int64_t index;  // in torchvision's `features`
  int64_t in, out, kernel, stride, padding;
  int64_t pool;  // side of the maximum pooling in front of it, of stride 2; 0: none
  bool tap;      // its output is compared
};

/// How many outputs are compared, of either network.
inline constexpr int64_t kTaps = 5;

std::span<const Layer> layers(Backbone backbone);
/// The shortest side of a picture that every layer has an output of.
int64_t least_side(Backbone backbone);

/// What a file holds of LPIPS, told from the names and shapes of its tensors.
struct Contents {
  std::string
      features;  // what stands before the backbone's names: "net.slice", "slice" or "features"; empty: it is not there
  std::string heads;     // the same of the linear layers: "lin", "lins."; empty: they are not there
  std::string head_end;  // what stands behind a linear layer's number: ".model.1" or, saved without dropout, ".model.0"
  bool known = true;     // false: they are of a network that is not served, such as SqueezeNet
  Backbone backbone = Backbone::AlexNet;

  /// "net.slice2.3" of lpips, "features.3" of torchvision. `tap`: how many taps lie before the layer.
  std::string path(const Layer& layer, int64_t tap) const;
  /// "lin0.model.1".
  std::string head(int64_t tap) const { return heads + std::to_string(tap) + head_end; }
};

Contents contents_of(const StoredTensors& tensors);

}  // namespace wan::lpips
