#include "tests/meaning/measure.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <utility>
#include <vector>

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

/// How far points x, y lie outside the outline of a regular figure whose sides are `inner` from its centre.
Tensor outside(const std::vector<std::pair<double, double>>& normals, const Tensor& x, const Tensor& y,
               const Tensor& inner) {
  Tensor far = x * normals[0].first + y * normals[0].second;
  for (const auto& [nx, ny] : normals) far = at::maximum(far, x * nx + y * ny);
  return far - inner;
}

/// Weights [F, H, W] of the object around centres [F, 2]. The triangle stands on one of three equal sides.
std::string shape_of(const Tensor& weights, const Tensor& centres) {
  const double tall = std::sqrt(0.75);
  Tensor x = at::arange(weights.size(2), weights.options()) + 0.5 - centres.select(1, 0).view({-1, 1, 1});
  Tensor y =
      (at::arange(weights.size(1), weights.options()) + 0.5).view({-1, 1}) - centres.select(1, 1).view({-1, 1, 1});
  Tensor area = weights.sum({1, 2}, /*keepdim=*/true);
  const std::array<std::pair<const char*, Tensor>, 3> ideals = {
      {{"circle", (x.square() + y.square()).sqrt() - (area / M_PI).sqrt()},
       {"square", outside({{1, 0}, {-1, 0}, {0, 1}, {0, -1}}, x, y, area.sqrt() / 2)},
       {"triangle", outside({{0, 1}, {tall, -0.5}, {-tall, -0.5}}, x, y, (area / (6 * tall)).sqrt())}}};
  std::string best;
  double most = 0;
  for (const auto& [name, far] : ideals) {
    Tensor ideal = (0.5 - far).clamp(0, 1);  // about what of each pixel lies inside
    Tensor common = at::minimum(weights, ideal).sum({1, 2}), all = at::maximum(weights, ideal).sum({1, 2});
    const double overlap = (common / all).mean().item<double>();
    if (overlap > most) best = name, most = overlap;
  }
  return best;
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
  Tensor weights = at::where(alpha > 0.25, alpha, at::zeros_like(alpha));
  Tensor centres = centres_of(weights);
  Tensor means = v.mean({2, 3}).t().contiguous();
  return {background, object, means, centres, shape_of(weights, centres), direction_of(centres)};
}

}  // namespace wan
