// Weights of interpolators at a size that a test can run, random: what they draw is nothing to look at, but between the
// frames that it is drawn from.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "models/weights/format/safetensors.h"

namespace wan {

/// Adds a convolution that keeps the scale of what passes through.
inline void add_convolution(std::map<std::string, at::Tensor>& tensors, const std::string& path,
                            const std::vector<int64_t>& shape, int64_t outputs) {
  double inputs = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) inputs *= double(shape[axis]);
  tensors[path + ".weight"] = at::randn(shape).div_(std::sqrt(inputs));
  tensors[path + ".bias"] = at::randn({outputs}).mul_(0.01);
}

/// FILM with a sixteenth of the published widths.
inline std::map<std::string, at::Tensor> film_weights() {
  at::manual_seed(11);
  std::map<std::string, at::Tensor> tensors;
  const auto add = [&](const std::string& path, int64_t in, int64_t out, int64_t kernel) {
    add_convolution(tensors, path, {out, in, kernel, kernel}, out);
  };
  const std::vector<int64_t> features = {4, 12, 28, 60}, fusion = {4, 8, 12, 16};
  const auto aligned = [&](size_t level) { return 2 * (3 + features[std::min<size_t>(level, 3)] + 2); };
  int64_t in = 3;
  for (int64_t sub = 0; sub < 4; ++sub) {
    const int64_t out = int64_t(4) << sub;
    const std::string path = "extract.extract_sublevels.convs." + std::to_string(sub);
    add(path + ".0.0", in, out, 3);
    add(path + ".1.0", out, out, 3);
    in = out;
  }
  for (size_t level = 0; level < 4; ++level) {
    const std::string path =
        level < 3 ? "predict_flow._predictors." + std::to_string(2 - level) : "predict_flow._predictor";
    for (int64_t i = 0; i < 3; ++i)
      add(path + "._convs." + std::to_string(i) + ".0", i ? 4 : 2 * features[level], 4, 3);
    add(path + "._convs.3.0", 4, 2, 1);
    add(path + "._convs.4.0", 2, 2, 1);
  }
  for (size_t level = 0; level < 4; ++level) {
    const std::string path = "fuse.convs." + std::to_string(3 - level);
    add(path + ".0.0", level < 3 ? fusion[level + 1] : aligned(4), fusion[level], 2);
    add(path + ".1.0", aligned(level) + fusion[level], fusion[level], 3);
    add(path + ".2.0", fusion[level], fusion[level], 3);
  }
  add("fuse.output_conv", fusion[0], 3, 1);
  return tensors;
}

/// RIFE 4.6, whose widths tell it and so are the published ones: 21 MB.
inline std::map<std::string, at::Tensor> rife_weights() {
  at::manual_seed(12);
  std::map<std::string, at::Tensor> tensors;
  const std::vector<int64_t> widths = {192, 128, 96, 64};
  for (size_t i = 0; i < widths.size(); ++i) {
    const int64_t width = widths[i];
    const std::string block = "block" + std::to_string(i) + ".";
    add_convolution(tensors, block + "conv0.0.0", {width / 2, i == 0 ? 7 : 12, 3, 3}, width / 2);
    add_convolution(tensors, block + "conv0.1.0", {width, width / 2, 3, 3}, width);
    for (int64_t j = 0; j < 8; ++j) {
      const std::string layer = block + "convblock." + std::to_string(j);
      add_convolution(tensors, layer + ".conv", {width, width, 3, 3}, width);
      tensors[layer + ".beta"] = at::full({1, width, 1, 1}, 0.1);
    }
    add_convolution(tensors, block + "lastconv.0", {width, 24, 4, 4}, 24);
    tensors[block + "lastconv.0.weight"].mul_(0.1);
  }
  return tensors;
}

/// Writes the weights of "film" or "rife".
inline void write_interpolator(const std::string& path, const std::string& model) {
  write_safetensors(path, model == "film" ? film_weights() : rife_weights());
}

}  // namespace wan
