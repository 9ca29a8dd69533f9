#include "models/rife/model.h"

#include <ATen/ATen.h>

#include <cmath>

namespace wan::rife {
namespace {

constexpr int64_t kVector = 4;  // values of a pixel are a multiple of these (motion_rows.cpp)

Scope network_root(Weights& weights) {
  const std::string module = prefix(weights.checkpoint().tensors());
  // Its authors read no others.
  for (const auto& [name, tensor] : weights.checkpoint().tensors())
    if (!name.starts_with(module)) weights.ignore(name);
  for (const char* other : {"teacher.", "block_tea.", "caltime.", "contextnet.", "unet."})
    weights.ignore(module + other);
  return module.empty() ? weights.root() : weights.root() / module.substr(0, module.size() - 1);
}

Architecture known(Weights& weights) {
  return architecture_of(weights.checkpoint().tensors(), weights.checkpoint().label());
}

int64_t round_up(int64_t size, int64_t to) {
  return (size + to - 1) / to * to;
}

/// 4.0 looks again, from twice as far, where both frames move by more than 32 pixels in stage 1.
bool moves_far(const Motion& motion) {
  constexpr double kFar = 32;
  return largest_change(motion, 0) > kFar && largest_change(motion, 1) > kFar;
}

}  // namespace

Model::Model(Weights& weights, const Options& options) : Model(network_root(weights), known(weights), options) {}

Model::Model(const Scope& root, Architecture architecture, const Options& options)
    : architecture_(std::move(architecture)), options_(options) {
  TORCH_CHECK(options.scale == 1 || options.scale == 0.5 || options.scale == 0.25,
              "[rife] scale must be 1, 0.5 or 0.25, got ", options.scale);
  if (architecture_.features() > 0) encode_.emplace(root / "encode", architecture_, options.dtype);
  for (size_t i = 0; i < architecture_.widths.size(); ++i)
    blocks_.emplace_back(root / ("block" + std::to_string(i)), architecture_, i, options.dtype);
}

int64_t Model::alignment() const {
  return int64_t(std::lround(128 / options_.scale));
}

int64_t Model::scale(size_t block) const {
  return int64_t(std::lround(double(architecture_.scale(block)) / options_.scale));
}

bool Model::by_rows() const {
  return options_.by_rows && (options_.dtype == at::kFloat || options_.dtype == at::kDouble);
}

Frame Model::frame(const Tensor& rgb) const {
  TORCH_CHECK(rgb.dim() == 4 && rgb.size(0) == 1 && rgb.size(1) == 3 && rgb.size(2) >= 2 && rgb.size(3) >= 2 &&
                  rgb.scalar_type() == options_.dtype,
              "[rife] a frame must be [1, 3, H, W], H and W at least 2, in ", options_.dtype, ", got ", rgb.sizes(),
              " in ", rgb.scalar_type());
  Frame frame;
  frame.height = rgb.size(2), frame.width = rgb.size(3);
  const int64_t height = round_up(frame.height, alignment()), width = round_up(frame.width, alignment());
  const int64_t features = architecture_.features();
  frame.packed = at::zeros({height, width, round_up(3 + features, kVector)}, rgb.options());
  frame.packed.narrow(0, 0, frame.height).narrow(1, 0, frame.width).narrow(2, 0, 3).copy_(rgb[0].permute({1, 2, 0}));
  const Tensor colours = frame.packed.narrow(2, 0, 3);
  frame.rgb = colours.permute({2, 0, 1}).unsqueeze(0);
  if (!encode_) return frame;
  const Tensor to = frame.packed.narrow(2, 3, features);
  const Rows rows = [colours](int64_t first, int64_t end) {
    return colours.narrow(0, first, end - first).unsqueeze(0).contiguous();
  };
  (*encode_)({rows, height, width, rgb.device()}, to);
  frame.features = to.permute({2, 0, 1}).unsqueeze(0);
  return frame;
}

Increment Model::stage(size_t block, const Pair& pair, const Motion& motion, int64_t scale) const {
  const at::Device device = pair.first.packed.device();
  const Rows rows =
      device.is_cpu() && by_rows() ? rows::input(pair, motion, scale) : rows_of(whole::input(pair, motion, scale));
  const Tensor values = blocks_[block]({std::move(rows), motion.height / scale, motion.width / scale, device});
  return {values, motion.height / values.size(0)};
}

Tensor Model::between(const Frame& first, const Frame& second, double time, const Observer& observe) const {
  TORCH_CHECK(time > 0 && time < 1, "[rife] time must lie between 0 and 1, got ", time);
  TORCH_CHECK(first.height == second.height && first.width == second.width &&
                  first.packed.sizes() == second.packed.sizes() && first.packed.device() == second.packed.device(),
              "[rife] two frames must be of one size, got ", first.height, " x ", first.width, " and ", second.height,
              " x ", second.width);
  const Pair pair{first, second, time};
  Motion motion{&architecture_, first.packed.size(0), first.packed.size(1), {}};
  int64_t times = 1;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    motion.stages.push_back(stage(i, pair, motion, scale(i) * times));
    // Shapes alone (meta) say nothing of the way.
    if (architecture_.version == Version::V4_0 && i == 1 && !first.packed.is_meta() && moves_far(motion)) {
      times = 2;
      motion.stages.clear();
      for (size_t j = 0; j < 2; ++j) {
        motion.stages.push_back(stage(j, pair, motion, scale(j) * times));
        if (observe && j == 0) observe(kRestart, motion);
      }
    }
    if (observe) observe(i, motion);
  }
  return first.packed.is_cpu() && by_rows() ? rows::merged(pair, motion) : whole::merged(pair, motion);
}

}  // namespace wan::rife
