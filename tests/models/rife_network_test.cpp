// RIFE against a plain writing-out of its description: whole pictures, ATen's operations, no stripes and no folding of
// weights.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/rife/model.h"
#include "tests/small_checkpoint.h"
#include "tests/support.h"

namespace wan::rife {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

Architecture small(Version version) {
  const bool five = version == Version::V4_25;
  return {version, five ? std::vector<int64_t>{24, 16, 12, 8, 4} : std::vector<int64_t>{24, 16, 12, 8}, 4};
}

/// Random weights that keep the size of what passes through. Where there are biases, slopes and betas they differ from
/// channel to channel.
Tensors weights_of(const Architecture& of) {
  at::manual_seed(5);
  Tensors tensors;
  const auto add = [&](const std::string& path, const std::vector<int64_t>& shape, int64_t outputs) {
    const double inputs = double(shape[1] * shape[2] * shape[3]);
    tensors[path + ".weight"] = at::randn(shape).mul_(1.4 / std::sqrt(inputs));
    tensors[path + ".bias"] = at::randn({outputs}).mul_(0.2);
  };
  const auto add_slopes = [&](const std::string& path, int64_t count) {
    if (!of.shuffles()) tensors[path + ".1.weight"] = at::rand({count});
  };
  for (size_t i = 0; i < of.widths.size(); ++i) {
    const std::string block = "block" + std::to_string(i) + ".";
    const int64_t width = of.widths[i];
    add(block + "conv0.0.0", {width / 2, of.inputs(i), 3, 3}, width / 2), add_slopes(block + "conv0.0", width / 2);
    add(block + "conv0.1.0", {width, width / 2, 3, 3}, width), add_slopes(block + "conv0.1", width);
    for (int64_t j = 0; j < 8; ++j) {
      const std::string layer = block + "convblock." + std::to_string(j);
      add(layer + (of.shuffles() ? ".conv" : ".0"), {width, width, 3, 3}, width), add_slopes(layer, width);
      if (of.shuffles()) tensors[layer + ".beta"] = at::rand({1, width, 1, 1});
    }
    const int64_t outputs = of.stored_outputs() * (of.shuffles() ? 4 : 1);
    add(block + (of.shuffles() ? "lastconv.0" : "lastconv"), {width, outputs, 4, 4}, outputs);
    if (!of.shuffles()) tensors[block + "lastconv.weight"].mul_(0.005);  // what a block of 4.0 adds up is large
  }
  if (of.features() == 0) return tensors;
  const bool deep = of.version != Version::V4_7;
  add(deep ? "encode.cnn0" : "encode.0", {of.head_width, 3, 3, 3}, of.head_width);
  for (const char* name : {"encode.cnn1", "encode.cnn2"})
    if (deep) add(name, {of.head_width, of.head_width, 3, 3}, of.head_width);
  add(deep ? "encode.cnn3" : "encode.1", {of.head_width, of.features(), 4, 4}, of.features());
  return tensors;
}

/// The network written out, in float64. Sides of pictures are multiples of 128. 4.0 looks once.
class WrittenOut {
 public:
  WrittenOut(const Tensors& weights, Architecture architecture) : of_(std::move(architecture)) {
    for (const auto& [name, tensor] : weights) weights_[name] = tensor.to(at::kDouble);
  }

  at::Tensor operator()(const at::Tensor& first, const at::Tensor& second, double time) {
    std::vector<at::Tensor> frames = {first, second};
    if (of_.features() > 0)
      for (const at::Tensor& picture : {first, second}) frames.push_back(encode(picture));
    const at::Tensor plane = at::full_like(first.narrow(1, 0, 1), time);
    at::Tensor flow, mask, carried;
    for (size_t i = 0; i < of_.widths.size(); ++i) {
      std::vector<at::Tensor> seen = warped(frames, flow);
      seen.push_back(plane);
      if (i > 0) seen.push_back(mask);
      if (i > 0 && of_.carried() > 0) seen.push_back(carried);
      const at::Tensor out = block(i, at::cat(seen, 1), flow);
      flow = i > 0 ? flow + out.narrow(1, 0, 4) : out.narrow(1, 0, 4);
      mask = i > 0 && of_.adds_masks() ? mask + out.narrow(1, 4, 1) : out.narrow(1, 4, 1);
      carried = out.narrow(1, 5, of_.carried());
    }
    farthest = flow.abs().max().item<double>();
    const std::vector<at::Tensor> last = warped({first, second}, flow);
    const at::Tensor blend = mask.sigmoid();
    return last[0] * blend + last[1] * (1 - blend);
  }

  double farthest = 0;  // pixels of the flow

 private:
  at::Tensor convolve(const at::Tensor& x, const std::string& path, int64_t stride = 1) const {
    return at::conv2d(x, weights_.at(path + ".weight"), weights_.at(path + ".bias"), stride, 1);
  }
  at::Tensor transposed(const at::Tensor& x, const std::string& path) const {
    return at::conv_transpose2d(x, weights_.at(path + ".weight"), weights_.at(path + ".bias"), 2, 1);
  }
  at::Tensor activated(const at::Tensor& x, const std::string& path, int64_t stride = 1) const {
    const at::Tensor y = convolve(x, path + ".0", stride);
    return of_.shuffles() ? at::leaky_relu(y, 0.2) : at::prelu(y, weights_.at(path + ".1.weight"));
  }
  static at::Tensor resized(const at::Tensor& x, int64_t numerator, int64_t denominator) {
    return at::upsample_bilinear2d(x, {x.size(2) * numerator / denominator, x.size(3) * numerator / denominator},
                                   false);
  }
  static at::Tensor warp(const at::Tensor& picture, const at::Tensor& flow) {
    const at::Tensor x = flow.select(1, 0) + at::arange(picture.size(3), flow.options());
    const at::Tensor y = flow.select(1, 1) + at::arange(picture.size(2), flow.options()).unsqueeze(1);
    const at::Tensor grid =
        at::stack({2 * x / double(picture.size(3) - 1) - 1, 2 * y / double(picture.size(2) - 1) - 1}, 3);
    return at::grid_sampler(picture, grid, /*bilinear*/ 0, /*border*/ 1, /*align_corners=*/true);
  }
  /// Frames and features of the two in turns, as the flow shows them.
  static std::vector<at::Tensor> warped(const std::vector<at::Tensor>& frames, const at::Tensor& flow) {
    std::vector<at::Tensor> seen;
    for (size_t i = 0; i < frames.size(); ++i)
      seen.push_back(flow.defined() ? warp(frames[i], flow.narrow(1, int64_t(i % 2) * 2, 2)) : frames[i]);
    return seen;
  }
  at::Tensor encode(const at::Tensor& picture) const {
    if (of_.version == Version::V4_7) return transposed(convolve(picture, "encode.0", 2), "encode.1");
    at::Tensor x = at::leaky_relu(convolve(picture, "encode.cnn0", 2), 0.2);
    for (const char* name : {"encode.cnn1", "encode.cnn2"}) x = at::leaky_relu(convolve(x, name), 0.2);
    return transposed(x, "encode.cnn3");
  }
  at::Tensor block(size_t number, const at::Tensor& seen, const at::Tensor& flow) const {
    const std::string path = "block" + std::to_string(number) + ".";
    const int64_t scale = of_.scale(number);
    at::Tensor x = resized(seen, 1, scale);
    if (flow.defined()) x = at::cat({x, resized(flow, 1, scale) / double(scale)}, 1);
    x = activated(activated(x, path + "conv0.0", 2), path + "conv0.1", 2);
    at::Tensor y = x;
    for (int64_t j = 0; j < 8; ++j) {
      const std::string layer = path + "convblock." + std::to_string(j);
      y = of_.shuffles() ? at::leaky_relu(convolve(y, layer + ".conv") * weights_.at(layer + ".beta") + y, 0.2)
                         : activated(y, layer);
    }
    const int64_t factor = of_.shuffles() ? scale : 2 * scale;
    const at::Tensor out = of_.shuffles() ? at::pixel_shuffle(transposed(y, path + "lastconv.0"), 2)
                                          : transposed(y + x, path + "lastconv");
    const at::Tensor whole = resized(out, factor, 1);
    return at::cat({whole.narrow(1, 0, 4) * double(factor), whole.narrow(1, 4, whole.size(1) - 4)}, 1);
  }

  Architecture of_;
  Tensors weights_;
};

}  // namespace

TEST(RifeNetwork, IsThatOfItsDescription) {
  const c10::InferenceMode inference;
  const TemporaryFolder folder;
  at::manual_seed(9);
  const at::Tensor texture = at::avg_pool2d(at::rand({1, 3, 140, 270}, at::kDouble), 5, 1),
                   first = texture.narrow(2, 0, 128).narrow(3, 0, 256).contiguous(),
                   second = texture.narrow(2, 3, 128).narrow(3, 6, 256).contiguous();
  for (const Version version : {Version::V4_0, Version::V4_6, Version::V4_7, Version::V4_13, Version::V4_25}) {
    SCOPED_TRACE(releases(version));
    const Architecture of = small(version);
    const Tensors tensors = weights_of(of);
    WrittenOut written(tensors, of);
    const at::Tensor want = written(first, second, 0.3);
    EXPECT_GT(written.farthest, 1) << "nothing moves";
    if (version == Version::V4_0) {
      EXPECT_LT(written.farthest, 32) << "it would look twice";
    }
    EXPECT_GT(max_abs_difference(want, first), 0.05) << "the picture tells nothing";
    for (const bool by_rows : {true, false}) {
      Weights weights(small_checkpoint(folder / "rife.safetensors", tensors), Place::on(at::kCPU, at::kFloat));
      const Model model(weights.root(), of, {.dtype = at::kDouble, .by_rows = by_rows});
      weights.finish();
      // float64: other order of sums
      EXPECT_TRUE(is_close(model.between(model.frame(first), model.frame(second), 0.3), want, 1e-10)) << by_rows;
    }
  }
}

}  // namespace wan::rife
