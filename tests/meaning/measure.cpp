#include "tests/meaning/measure.h"

#include <ATen/ATen.h>

#include <cmath>

namespace wan {

using at::Tensor;
using at::indexing::Slice;

namespace {

/// More than 8 pixels, mostly along one axis.
std::string direction_of(const Tensor& centres) {
  Tensor travel = centres[-1] - centres[0];
  const double x = travel[0].item<double>(), y = travel[1].item<double>();
  const double along = std::max(std::abs(x), std::abs(y)), across = std::min(std::abs(x), std::abs(y));
  if (along <= 8 || across >= 0.35 * along) return "";
  if (std::abs(x) > std::abs(y)) return x > 0 ? "right" : "left";
  return y > 0 ? "down" : "up";
}

/// The colour that most of the picture's edge has, over all frames: [3].
Tensor edge_colour(const Tensor& v) {
  Tensor edge = at::cat({v.select(2, 0), v.select(2, -1), v.select(3, 0), v.select(3, -1)}, 2).flatten(1);
  return std::get<0>(edge.median(1));
}

/// Centre of gravity of weights [F, H, W]: [F, 2].
Tensor centres_of(const Tensor& weights) {
  Tensor x = at::arange(weights.size(2), weights.options()) + 0.5;
  Tensor y = at::arange(weights.size(1), weights.options()) + 0.5;
  Tensor area = weights.sum({1, 2}).clamp_min(1e-6);
  return at::stack({(weights.sum(1) * x).sum(1) / area, (weights.sum(2) * y).sum(1) / area}, 1);
}

}  // namespace

Measured measure(const Tensor& video) {
  Tensor v = (video.to(at::kFloat).clamp(-1, 1) + 1) / 2;
  Tensor background = edge_colour(v), away = v - background.view({3, 1, 1, 1});
  Tensor distance = away.norm(2, 0);
  Tensor top = std::get<0>(distance.flatten().kthvalue(int64_t(double(distance.numel()) * 0.97))).clamp_min(1e-3);
  Tensor core = distance > 0.8 * top;
  Tensor object = (v * core).sum({1, 2, 3}) / core.sum().clamp_min(1);
  Tensor axis = object - background;
  // How much of each pixel is object: its place on the line from one colour to the other.
  Tensor alpha = ((away * axis.view({3, 1, 1, 1})).sum(0) / axis.square().sum().clamp_min(1e-6)).clamp(0, 1);
  Tensor centres = centres_of(at::where(alpha > 0.25, alpha, at::zeros_like(alpha)));
  return {background, object, v.mean({2, 3}).t().contiguous(), centres, direction_of(centres)};
}

}  // namespace wan
