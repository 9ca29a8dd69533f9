#include "engine/frames/blur.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "engine/media/resize.h"

namespace wan {
namespace {

constexpr int64_t kLeft = 12;      // pixels of the shorter side, fewer where it is short itself
constexpr int64_t kMostLeft = 64;  // of the longer side, whatever its length

at::Tensor blurred_frame(const at::Tensor& rgb) {
  const int64_t height = rgb.size(0), width = rgb.size(1), shorter = std::min(height, width);
  const int64_t left = std::clamp<int64_t>(shorter / 4, 1, kLeft);
  const auto reduced = [&](int64_t side) { return std::min(side * left / shorter, kMostLeft); };
  const at::Tensor small = resize_pillow(rgb, reduced(height), reduced(width));
  return resize_pillow(small, height, width, Filter::Bicubic);
}

}  // namespace

at::Tensor blurred(const at::Tensor& rgb) {
  at::Tensor result = at::empty(rgb.sizes(), at::kByte);
  for (int64_t i = 0; i < rgb.size(0); ++i) result[i].copy_(blurred_frame(rgb[i]));
  return result;
}

}  // namespace wan
