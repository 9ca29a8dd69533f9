// What a clip of the toy world shows, by plain image analysis. Source: measure.py of the nano checkpoint's training.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace wan {

struct Measured {
  at::Tensor background, object;  // [3] colours in 0..1
  at::Tensor frame_means;         // [F, 3] in 0..1
  at::Tensor centres;             // [F, 2] x, y of the object in pixels; pixel centres lie at +0.5
  std::string shape;              // circle, square, triangle: whose outline of the same area covers the object best
  std::string direction;          // right, left, up, down; empty: the object does not move along one axis
};

/// video [3, F, H, W] in [-1, 1], one object before a plain background.
Measured measure(const at::Tensor& video);

}  // namespace wan
