#include "engine/frames/safety_input.h"

#include <ATen/ATen.h>

#include "engine/media/resize.h"

namespace wan {
namespace {

Filter filter_of(safety::Preprocessing::Filter filter) {
  switch (filter) {
    case safety::Preprocessing::Filter::Lanczos:
      return Filter::Lanczos;
    case safety::Preprocessing::Filter::Bicubic:
      return Filter::Bicubic;
    case safety::Preprocessing::Filter::Bilinear:
      break;
  }
  return Filter::Triangle;
}

/// One number for each channel, [3, 1, 1] float32.
at::Tensor channels(const std::array<double, 3>& numbers) {
  return at::tensor(at::ArrayRef<double>(numbers.data(), numbers.size())).to(at::kFloat).view({3, 1, 1});
}

}  // namespace

at::Tensor safety_input(const at::Tensor& rgb, const safety::Preprocessing& how) {
  const Filter filter = filter_of(how.resample);
  const at::Tensor small = how.shortest_edge == 0 ? resize_pillow(rgb, how.size, how.size, filter)
                                                  : resize_centre(rgb, how.shortest_edge, how.size, how.size, filter);
  // In float64 and rounded once, then in float32, as numpy has it.
  const at::Tensor scaled = small.permute({2, 0, 1}).to(at::kDouble).mul_(how.rescale_factor).to(at::kFloat);
  return scaled.sub_(channels(how.image_mean)).div_(channels(how.image_std)).unsqueeze(0).contiguous();
}

}  // namespace wan
