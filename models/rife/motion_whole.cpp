// Motion on whole pictures, by ATen's operations.
#include <ATen/ATen.h>

#include <utility>

#include "models/rife/motion.h"

namespace wan::rife {
namespace {

Tensor as_image(const Tensor& values) {
  return values.permute({2, 0, 1}).unsqueeze(0);
}

/// Some channels of an increment at the size of the frames.
Tensor enlarged(const Increment& increment, int64_t channel, int64_t count) {
  const Tensor small = as_image(increment.values.narrow(2, channel, count)).contiguous();
  if (increment.factor == 1) return small;
  const double factor = double(increment.factor);
  return at::upsample_bilinear2d(small, {small.size(2) * increment.factor, small.size(3) * increment.factor},
                                 /*align_corners=*/false, factor, factor);
}

/// Made smaller by a power of two: the mean of the four pixels in the middle of each square.
Tensor reduced(const Tensor& image, int64_t scale) {
  if (scale == 1) return image;
  return at::upsample_bilinear2d(image, {image.size(2) / scale, image.size(3) / scale}, /*align_corners=*/false,
                                 1.0 / double(scale), 1.0 / double(scale));
}

/// Where each pixel of the result lies in the picture, as grid_sample wants it: [1, H, W, 2], in float32 at least.
Tensor grid_of(const Tensor& flow) {
  const int64_t height = flow.size(2), width = flow.size(3);
  const at::ScalarType dtype = flow.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::TensorOptions options = flow.options().dtype(dtype);
  const Tensor grid = at::empty({1, height, width, 2}, options);
  grid.select(3, 0).copy_(at::linspace(-1, 1, width, options).expand({1, height, width}));
  grid.select(3, 1).copy_(at::linspace(-1, 1, height, options).unsqueeze(1).expand({1, height, width}));
  grid.select(3, 0).add_(flow.select(1, 0), 2.0 / double(width - 1));
  grid.select(3, 1).add_(flow.select(1, 1), 2.0 / double(height - 1));
  return grid;
}

Tensor sampled(const Tensor& image, const Tensor& grid) {
  constexpr int64_t kBilinear = 0, kBorder = 1;
  return at::grid_sampler(image.to(grid.scalar_type()), grid, kBilinear, kBorder, /*align_corners=*/true)
      .to(image.scalar_type());
}

}  // namespace

Tensor flow_of(const Motion& motion) {
  Tensor flow;
  for (const Increment& increment : motion.stages) {
    const Tensor change = enlarged(increment, 0, 4);
    if (flow.defined())
      flow.add_(change, double(increment.factor));
    else
      flow = change * double(increment.factor);
  }
  return flow;
}

Tensor mask_of(const Motion& motion) {
  Tensor mask = enlarged(motion.stages.back(), 4, 1);
  if (motion.architecture->adds_masks())
    for (size_t i = motion.stages.size() - 1; i-- > 0;) mask = mask + enlarged(motion.stages[i], 4, 1);
  return mask;
}

double largest_change(const Motion& motion, int64_t frame) {
  const Increment& last = motion.stages.back();
  const auto [least, most] = at::aminmax(enlarged(last, 2 * frame, 2));
  return double(last.factor) * at::maximum(least.abs(), most.abs()).item<double>();
}

Tensor carried_of(const Motion& motion) {
  return enlarged(motion.stages.back(), 5, motion.architecture->carried());
}

std::pair<Tensor, Tensor> warped_of(const Frame& first, const Frame& second, const Motion& motion) {
  const Tensor flow = flow_of(motion);
  return {sampled(first.rgb, grid_of(flow.narrow(1, 0, 2))), sampled(second.rgb, grid_of(flow.narrow(1, 2, 2)))};
}

namespace whole {

Tensor input(const Pair& pair, const Motion& motion, int64_t scale) {
  const Architecture& architecture = *motion.architecture;
  const Tensor out =
      at::empty({1, motion.height / scale, motion.width / scale, architecture.inputs(motion.stages.empty() ? 0 : 1)},
                pair.first.packed.options());
  int64_t channel = 0;
  const auto add = [&](const Tensor& image, int64_t times = 1) {
    const Tensor small = reduced(image, scale), to = out.narrow(3, channel, image.size(1));
    to.copy_((times == 1 ? small : small / double(times)).permute({0, 2, 3, 1}));
    channel += image.size(1);
  };
  Tensor flow;
  if (!motion.stages.empty()) flow = flow_of(motion);
  const auto add_both = [&](const Tensor& first, const Tensor& second) {
    add(flow.defined() ? sampled(first, grid_of(flow.narrow(1, 0, 2))) : first);
    add(flow.defined() ? sampled(second, grid_of(flow.narrow(1, 2, 2))) : second);
  };
  add_both(pair.first.rgb, pair.second.rgb);
  if (architecture.features() > 0) add_both(pair.first.features, pair.second.features);
  out.select(3, channel++).fill_(pair.time);
  if (!flow.defined()) return out;
  add(mask_of(motion));
  if (architecture.carried() > 0) add(carried_of(motion));
  add(flow, scale);
  return out;
}

Tensor merged(const Pair& pair, const Motion& motion) {
  auto [first, second] = warped_of(pair.first, pair.second, motion);
  const Tensor share = mask_of(motion).sigmoid_();
  // m a + (1 - m) b
  const Tensor mixed = second.add_(first.sub_(second).mul_(share)).clamp_(0, 1);
  return mixed.narrow(2, 0, pair.first.height).narrow(3, 0, pair.first.width).contiguous();
}

}  // namespace whole
}  // namespace wan::rife
