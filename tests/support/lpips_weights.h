// Weights of LPIPS in its real widths, made up: those of tests/oracle/compare/cases.py.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/lpips/network.h"

namespace wan {

/// float64 in [0, 1): the upper 53 bits of splitmix64 of each number from stream * 2^40 on.
inline at::Tensor uniform(uint64_t stream, int64_t count) {
  const at::Tensor values = at::empty({count}, at::kDouble);
  double* const to = values.data_ptr<double>();
  for (int64_t i = 0; i < count; ++i) {
    uint64_t x = uint64_t(i) + (stream << 40) + 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x = x ^ (x >> 31);
    to[i] = double(x >> 11) * 0x1p-53;
  }
  return values;
}

using NamedTensors = std::map<std::string, at::Tensor>;

/// The backbone, by the names of the package lpips ("net.slice1.0.weight") or of torchvision ("features.0.weight").
inline NamedTensors lpips_features(lpips::Backbone backbone, bool torchvision) {
  lpips::Contents names;
  names.features = torchvision ? "features" : "net.slice";
  NamedTensors tensors;
  uint64_t number = 0;
  int64_t tap = 0;
  for (const lpips::Layer& layer : lpips::layers(backbone)) {
    const int64_t seen = layer.in * layer.kernel * layer.kernel;
    const std::string path = names.path(layer, tap);
    const auto drawn = [](const at::Tensor& values, double bound) { return ((2 * values - 1) * bound).to(at::kFloat); };
    tensors[path + ".weight"] = drawn(uniform(3 * number, layer.out * seen), std::sqrt(6.0 / double(seen)))
                                    .view({layer.out, layer.in, layer.kernel, layer.kernel});
    tensors[path + ".bias"] = drawn(uniform(3 * number + 1, layer.out), .1);
    ++number;
    tap += layer.tap;
  }
  return tensors;
}

/// The linear layers: "lin0.model.1.weight" and so on.
inline NamedTensors lpips_heads(lpips::Backbone backbone, const std::string& before = "lin",
                                const std::string& behind = ".model.1") {
  NamedTensors tensors;
  uint64_t number = 0;
  for (const lpips::Layer& layer : lpips::layers(backbone))
    if (layer.tap) {
      tensors[before + std::to_string(number) + behind + ".weight"] =
          uniform(1000 + number, layer.out).to(at::kFloat).view({1, layer.out, 1, 1});
      ++number;
    }
  return tensors;
}

/// The whole state dict of lpips.LPIPS, with what it holds beside the network.
inline NamedTensors lpips_whole(lpips::Backbone backbone) {
  NamedTensors tensors = lpips_features(backbone, /*torchvision=*/false);
  tensors.merge(lpips_heads(backbone));
  tensors.merge(lpips_heads(backbone, "lins."));
  tensors["scaling_layer.shift"] = at::tensor({-.030F, -.088F, -.188F}).view({1, 3, 1, 1});
  tensors["scaling_layer.scale"] = at::tensor({.458F, .448F, .450F}).view({1, 3, 1, 1});
  return tensors;
}

}  // namespace wan
