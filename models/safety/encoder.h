// The vision transformer that both safety checkers are made of: patches and a class token, through layers with their norms
// in front. Source: transformers 4.57.6, modeling_vit.py and modeling_clip.py, which differ in names, GELU and the norms
// around the layers.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string_view>
#include <vector>

#include "models/layers.h"
#include "models/safety/config.h"

namespace wan::safety {

using at::Tensor;

/// What the published files of a network call the parts of the encoder, under its root.
struct Words {
  std::string_view class_token;
  std::vector<int64_t> before_class;  // leading axes of the class token, all 1
  std::string_view position;
  std::vector<int64_t> before_position;  // and of the table of positions
  std::string_view patch;
  Bias patch_bias;
  std::string_view layers, query, key, value, out, norm_before, norm_after, first, second;
};

/// h [n, tokens, hidden] -> the same: h + attention(norm(h)), then + MLP(norm(h)).
struct EncoderLayer {
  EncoderLayer(const Scope& at, const VisionConfig& c, const Words& words);
  Tensor operator()(const Tensor& h) const;

  int64_t heads, width;
  Gelu gelu;
  LayerNorm norm_before, norm_after;
  MergedLinear qkv;
  Linear out, first, second;
};

/// Called with the number of a hidden state and the state [n, tokens, hidden].
using Visitor = std::function<void(int64_t index, const Tensor& state)>;

class Encoder {
 public:
  /// `root`: under which all names of `words` lie.
  Encoder(const Scope& root, const VisionConfig& c, const Words& words);

  /// pixels [n, 3, image_size, image_size] float32, normalised -> [n, tokens, hidden], the class token first. Throws
  /// c10::Error for other shapes.
  Tensor embeddings(const Tensor& pixels) const;
  /// All layers. Visits every hidden state where `visit` is given: 0 is `h`, i the output of layer i.
  Tensor layers(Tensor h, const Visitor& visit) const;

 private:
  VisionConfig config_;
  Weight class_token_, position_, patch_, patch_bias_;
  std::vector<EncoderLayer> layers_;
};

}  // namespace wan::safety
