// FILM against a plain writing-out of its description: whole tensors side by side, every product computed, no band, no
// sharing.
#include "models/film/model.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "models/files/error.h"
#include "models/film/needs.h"
#include "models/film/warp.h"
#include "tests/small_checkpoint.h"
#include "tests/support.h"
#include "tools/bench/counted_memory.h"

namespace wan::film {
namespace {

/// A sixteenth of the published widths; the coarsest level of the fusion is another than that of the features, too.
const Config kSmall = {4, 4, {{3, 4}, {2, 4}, {3, 6}, {3, 16}}, {4, 8, 12, 16}};

/// Wide enough that every convolution of 3x3 pixels but the first goes by winograd(), as in the published network: what
/// oneDNN takes for itself is in no count.
const Config kQuarter = {16, 4, {{3, 16}, {3, 16}, {3, 32}, {3, 64}}, {16, 32, 64, 128}};

std::string numbered(const std::string& path, int64_t number) {
  return path + "." + std::to_string(number);
}

/// The shapes of a network's tensors by their published names.
std::map<std::string, std::vector<int64_t>> shapes_of(const Config& c) {
  std::map<std::string, std::vector<int64_t>> shapes;
  const auto add = [&](const std::string& path, int64_t in, int64_t out, int64_t kernel) {
    shapes[path + ".weight"] = {out, in, kernel, kernel};
    shapes[path + ".bias"] = {out};
  };
  for (int64_t sub = 0, in = 3; sub < c.sub_levels; in = c.filters << sub++) {
    add(numbered("extract.extract_sublevels.convs", sub) + ".0.0", in, c.filters << sub, 3);
    add(numbered("extract.extract_sublevels.convs", sub) + ".1.0", c.filters << sub, c.filters << sub, 3);
  }
  const auto own = int64_t(c.predictors.size()) - 1;
  for (int64_t level = 0; level <= own; ++level) {
    const std::string at =
        level < own ? numbered("predict_flow._predictors", own - 1 - level) : "predict_flow._predictor";
    const auto [convolutions, width] = c.predictors[size_t(level)];
    for (int64_t i = 0; i < convolutions; ++i)
      add(numbered(at + "._convs", i) + ".0", i ? width : 2 * c.features(level), width, 3);
    add(numbered(at + "._convs", convolutions) + ".0", width, width / 2, 1);
    add(numbered(at + "._convs", convolutions + 1) + ".0", width / 2, 2, 1);
  }
  const auto fused = int64_t(c.fusion.size());
  for (int64_t level = 0; level < fused; ++level) {
    const std::string at = numbered("fuse.convs", fused - 1 - level);
    const int64_t width = c.fusion[size_t(level)];
    add(at + ".0.0", level + 1 < fused ? c.fusion[size_t(level) + 1] : c.aligned(fused), width, 2);
    add(at + ".1.0", c.aligned(level) + width, width, 3);
    add(at + ".2.0", width, width, 3);
  }
  add("fuse.output_conv", c.fusion[0], 3, 1);
  return shapes;
}

/// Random weights that keep the size of what passes through.
std::map<std::string, at::Tensor> weights_of(const Config& config) {
  at::manual_seed(7);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : shapes_of(config)) {
    const double inputs = shape.size() == 1 ? 100 : double(shape[1] * shape[2] * shape[3]);
    tensors[name] = at::randn(shape).mul_(1.4 / std::sqrt(inputs));
  }
  return tensors;
}

/// The network written out, in the dtype of its input.
class WrittenOut {
 public:
  WrittenOut(std::map<std::string, at::Tensor> weights, Config config)
      : weights_(std::move(weights)), config_(std::move(config)) {}

  at::Tensor operator()(const at::Tensor& first, const at::Tensor& second, double time) {
    const std::vector<at::Tensor> pictures[] = {pyramid(first), pyramid(second)};
    const std::vector<at::Tensor> features[] = {extract(pictures[0]), extract(pictures[1])};
    forward = flow(features[0], features[1]);
    backward = flow(features[1], features[0]);
    at::Tensor x;
    for (int64_t level = config_.fusion_levels() - 1; level >= 0; --level) {
      const auto l = size_t(level);
      const at::Tensor back = backward[l] * time, on = forward[l] * (1 - time);
      const at::Tensor aligned = at::cat({warp(at::cat({pictures[0][l], features[0][l]}, 1), back),
                                          warp(at::cat({pictures[1][l], features[1][l]}, 1), on), back, on},
                                         1);
      x = x.defined() ? fuse(x, aligned, level) : aligned;
    }
    return convolve(x, "fuse.output_conv");
  }

  static at::Tensor warp(const at::Tensor& source, const at::Tensor& flow) {
    const int64_t height = source.size(2), width = source.size(3);
    const at::Tensor x = flow.select(1, 0) + at::arange(width, flow.options());
    const at::Tensor y = flow.select(1, 1) + at::arange(height, flow.options()).unsqueeze(1);
    const at::Tensor grid = at::stack({(2 * x + 1) / width - 1, (2 * y + 1) / height - 1}, 3);
    return at::grid_sampler(source.contiguous(), grid, /*bilinear*/ 0, /*border*/ 1, /*align_corners=*/false);
  }

  std::vector<at::Tensor> forward, backward;
  double flops = 0, doubling_flops = 0;  // of both frames and what is between

 private:
  at::Tensor convolve(const at::Tensor& x, const std::string& path, at::IntArrayRef padding = {0, 0}) {
    const at::Tensor weight = weights_.at(path + ".weight").to(x.dtype());
    const at::Tensor y = at::conv2d(x, weight, weights_.at(path + ".bias").to(x.dtype()), 1, padding);
    flops += 2 * double(weight.numel()) * double(y.size(2) * y.size(3));
    return y;
  }
  at::Tensor activated(const at::Tensor& x, const std::string& path) {
    const int64_t padding = weights_.at(path + ".weight").size(2) / 2;
    return at::leaky_relu(convolve(x, path, {padding, padding}), 0.2);
  }
  std::vector<at::Tensor> pyramid(const at::Tensor& picture) const {
    std::vector<at::Tensor> levels = {picture};
    while (int64_t(levels.size()) < config_.pyramid_levels) levels.push_back(at::avg_pool2d(levels.back(), 2, 2));
    return levels;
  }
  std::vector<at::Tensor> extract(const std::vector<at::Tensor>& pictures) {
    std::vector<std::vector<at::Tensor>> parts(pictures.size());
    for (size_t start = 0; start < pictures.size(); ++start) {
      at::Tensor x = pictures[start];
      for (size_t sub = 0; sub < size_t(config_.sub_levels) && start + sub < pictures.size(); ++sub) {
        const std::string at = numbered("extract.extract_sublevels.convs", int64_t(sub));
        x = activated(activated(sub ? at::avg_pool2d(x, 2, 2) : x, at + ".0.0"), at + ".1.0");
        parts[start + sub].insert(parts[start + sub].begin(), x);
      }
    }
    // Of the later pictures fewer sub-levels come before; the picture of the level itself comes first.
    std::vector<at::Tensor> features;
    for (const auto& level : parts) features.push_back(at::cat(level, 1));
    return features;
  }
  std::vector<at::Tensor> flow(const std::vector<at::Tensor>& from, const std::vector<at::Tensor>& to) {
    const auto own = int64_t(config_.predictors.size()) - 1;
    std::vector<at::Tensor> flows(from.size());
    at::Tensor flow;
    for (int64_t level = int64_t(from.size()) - 1; level >= 0; --level) {
      const auto l = size_t(level);
      if (flow.defined()) flow = 2 * at::upsample_bilinear2d(flow, {from[l].size(2), from[l].size(3)}, false);
      const std::string at =
          level < own ? numbered("predict_flow._predictors", own - 1 - level) : "predict_flow._predictor";
      at::Tensor x = at::cat({from[l], flow.defined() ? warp(to[l], flow) : to[l]}, 1);
      const int64_t convolutions = config_.predictor(level).convolutions;
      for (int64_t i = 0; i <= convolutions; ++i) x = activated(x, numbered(at + "._convs", i) + ".0");
      x = convolve(x, numbered(at + "._convs", convolutions + 1) + ".0");
      flows[l] = flow = flow.defined() ? flow + x : x;
    }
    return flows;
  }
  at::Tensor fuse(const at::Tensor& coarser, const at::Tensor& aligned, int64_t level) {
    const std::string at = numbered("fuse.convs", int64_t(config_.fusion.size()) - 1 - level);
    const at::Tensor doubled = at::upsample_nearest2d(coarser, {aligned.size(2), aligned.size(3)});
    const double before = flops;
    const at::Tensor up = convolve(at::constant_pad_nd(doubled, {0, 1, 0, 1}), at + ".0.0");
    doubling_flops += flops - before;
    return activated(activated(at::cat({aligned, up}, 1), at + ".1.0"), at + ".2.0");
  }

  std::map<std::string, at::Tensor> weights_;
  Config config_;
};

/// Two pictures with a texture that moves.
std::pair<at::Tensor, at::Tensor> pictures(int64_t height, int64_t width, at::ScalarType dtype) {
  at::manual_seed(3);
  const at::Tensor whole = at::avg_pool2d(at::rand({1, 3, height + 8, width + 8}, dtype), 5, 1);
  return {whole.narrow(2, 0, height).narrow(3, 0, width).contiguous(),
          whole.narrow(2, 2, height).narrow(3, 4, width).contiguous()};
}

class Film : public testing::Test {
 protected:
  Model model(const std::map<std::string, at::Tensor>& tensors, const Options& options = {}) {
    Weights weights(small_checkpoint(folder / "film.safetensors", tensors), Place::on(at::kCPU, at::kFloat));
    Model model(weights, options);
    weights.finish();
    return model;
  }
  std::string refusal(const std::map<std::string, at::Tensor>& tensors) {
    try {
      model(tensors);
    } catch (const ModelError& error) {
      return error.what();
    }
    return "";
  }

  const c10::InferenceMode inference;
  const TemporaryFolder folder;
};

}  // namespace

TEST_F(Film, IsTheNetworkWrittenOut) {
  const std::map<std::string, at::Tensor> tensors = weights_of(kSmall);
  for (const int64_t band_bytes : {int64_t(128) << 20, int64_t(1)}) {  // whole levels, and the smallest bands
    const Model network = model(tensors, {.dtype = at::kDouble, .band_bytes = band_bytes});
    const auto [first, second] = pictures(64, 192, at::kDouble);
    const Frame frames[] = {network.frame(first), network.frame(second)};
    for (const double time : {0.5, 0.25}) {
      SCOPED_TRACE(std::to_string(time) + " in bands of " + std::to_string(band_bytes) + " bytes");
      WrittenOut written(tensors, kSmall);
      const at::Tensor raw = written(first, second, time);
      std::map<std::string, at::Tensor> seen;
      const at::Tensor got = network.between(
          frames[0], frames[1], time,
          [&](std::string_view name, const at::Tensor& value) { seen[std::string(name)] = value.clone(); });
      // float64, other order of sums
      EXPECT_TRUE(is_close(seen.at("raw"), raw, 1e-10));
      EXPECT_TRUE(is_close(got, raw.clamp(0, 1), 1e-10));
      EXPECT_GT(raw.std().item<double>(), 0.05) << "the pictures tell nothing";
      for (int64_t level = 0; level < 5; ++level) {
        EXPECT_TRUE(is_close(seen.at(numbered("forward_flow", level)), written.forward[size_t(level)], 1e-10));
        EXPECT_TRUE(is_close(seen.at(numbered("backward_flow", level)), written.backward[size_t(level)], 1e-10));
      }
      EXPECT_GT(written.forward[0].abs().max().item<double>(), 1) << "nothing moves";
    }
  }
}

TEST_F(Film, PadsOnAllSidesAndCutsThePaddingOff) {
  const std::map<std::string, at::Tensor> tensors = weights_of(kSmall);
  const Model network = model(tensors, {.dtype = at::kDouble});
  for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{{45, 70}, {1, 1}, {64, 65}}) {
    SCOPED_TRACE(std::to_string(height) + "x" + std::to_string(width));
    const auto [first, second] = pictures(height, width, at::kDouble);
    const int64_t rows = (height + 63) / 64 * 64 - height, columns = (width + 63) / 64 * 64 - width;
    const int64_t above = rows / 2, left = columns / 2;
    const auto padded = [&](const at::Tensor& x) {
      return at::constant_pad_nd(x, {left, columns - left, above, rows - above});
    };
    const at::Tensor raw = WrittenOut(tensors, kSmall)(padded(first), padded(second), 0.5);
    const at::Tensor want = raw.narrow(2, above, height).narrow(3, left, width).clamp(0, 1);
    const at::Tensor got = network.between(network.frame(first), network.frame(second), 0.5);
    EXPECT_TRUE(is_close(got, want, 1e-10));
    EXPECT_TRUE(got.is_contiguous());
  }
}

TEST_F(Film, FramesMayBeUsedAgain) {
  const Model network = model(weights_of(kSmall));
  const auto [first, second] = pictures(70, 45, at::kFloat);
  const Frame a = network.frame(first), b = network.frame(second);
  const at::Tensor once = network.between(a, b, 0.5);
  const Frame middle = network.frame(once);
  network.between(a, middle, 0.5);
  network.between(middle, b, 0.5);
  EXPECT_TRUE(at::equal(network.between(a, b, 0.5), once));
}

TEST_F(Film, AFileInHalfComputesInFloat) {
  std::map<std::string, at::Tensor> half = weights_of(kSmall), rounded;
  for (auto& [name, tensor] : half) {
    tensor = tensor.to(at::kHalf);
    rounded[name] = tensor.to(at::kFloat);
  }
  const auto [first, second] = pictures(45, 70, at::kFloat);
  const auto between = [&](const Model& network) {
    return network.between(network.frame(first), network.frame(second), 0.5);
  };
  const at::Tensor want = between(model(rounded));
  EXPECT_EQ(want.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(between(model(half)), want));
}

// A view of it would keep the whole mapped file, which lies in memory where it was read.
TEST_F(Film, NoWeightIsTheMappedFile) {
  Weights weights(small_checkpoint(folder / "film.safetensors", weights_of(kQuarter)), Place::on(at::kCPU, at::kFloat));
  const Model network(weights);
  for (const Weight& weight : weights.taken()) EXPECT_GT(weight.bytes(), 0u) << weight.parts()[0].name;
}

TEST_F(Film, SizesAreReadOffTheTensors) {
  StoredTensors stored;
  for (const auto& [name, shape] : shapes_of(kPublished))
    stored[name] = {at::kFloat, shape, row_major_strides(shape), nullptr, 0};
  EXPECT_EQ(stored.at("fuse.convs.0.1.0.weight").shape, (std::vector<int64_t>{512, 2442, 3, 3}));  // as published
  EXPECT_EQ(stored.at("predict_flow._predictor._convs.0.0.weight").shape, (std::vector<int64_t>{256, 1920, 3, 3}));
  const Config told = Config::of(stored, "film");
  EXPECT_EQ(told.filters, 64);
  EXPECT_EQ(told.sub_levels, 4);
  EXPECT_EQ(told.fusion, kPublished.fusion);
  ASSERT_EQ(told.predictors.size(), 4u);
  for (size_t level = 0; level < 4; ++level) {
    EXPECT_EQ(told.predictors[level].width, kPublished.predictors[level].width);
    EXPECT_EQ(told.predictors[level].convolutions, 3);
  }
}

TEST_F(Film, WhatIsNoWholeNetworkIsRefused) {
  const std::map<std::string, at::Tensor> whole = weights_of(kSmall);
  EXPECT_EQ(refusal(whole), "");
  auto changed = whole;
  changed.erase("fuse.output_conv.bias");
  EXPECT_NE(refusal(changed).find("1 missing (fuse.output_conv.bias)"), std::string::npos) << refusal(changed);
  changed = whole;
  changed["fuse.convs.4.0.0.weight"] = at::zeros({4, 4, 2, 2});
  EXPECT_NE(refusal(changed).find("a width (axis 0 of fuse.convs.4.2.0.weight)"), std::string::npos)
      << refusal(changed);
  changed = whole;
  changed["extract.extract_sublevels.convs.0.0.0.weight"] = at::zeros({1025, 3, 3, 3});
  EXPECT_NE(refusal(changed).find("number of filters"), std::string::npos) << refusal(changed);
  changed = whole;
  changed.erase("predict_flow._predictors.0._convs.0.0.weight");
  EXPECT_NE(refusal(changed), "");
  EXPECT_NE(refusal({{"x", at::zeros({1})}}).find("is it a whole FILM"), std::string::npos);
}

TEST_F(Film, FramesAndTimesAreChecked) {
  const Model network = model(weights_of(kSmall));
  EXPECT_THROW(network.frame(at::rand({3, 64, 64})), c10::Error);
  EXPECT_THROW(network.frame(at::rand({1, 4, 64, 64})), c10::Error);
  EXPECT_THROW(network.frame(at::rand({1, 3, 64, 64}, at::kDouble)), c10::Error);
  const Frame one = network.frame(at::rand({1, 3, 64, 64})), other = network.frame(at::rand({1, 3, 64, 60}));
  EXPECT_THROW(network.between(one, other, 0.5), c10::Error);
  for (const double time : {0.0, 1.0, -1.0, std::nan("")}) EXPECT_THROW(network.between(one, one, time), c10::Error);
}

/// Runs the CPU's own loops where tensors lie channels last, and the operations for all devices where they do not.
TEST_F(Film, WarpsAsGridSamplerDoes) {
  at::manual_seed(1);
  const at::Tensor source = at::randn({1, 5, 20, 30}, at::kDouble);
  const at::Tensor flow = at::randn({1, 2, 20, 30}, at::kDouble).mul_(6);  // some places lie outside
  const at::Tensor want = WrittenOut::warp(source, flow * 0.7);
  for (const auto format : {at::MemoryFormat::ChannelsLast, at::MemoryFormat::Contiguous}) {
    const at::Tensor out = at::zeros({1, 9, 20, 30}, at::kDouble).contiguous(format);
    for (int64_t row = 0; row < 20; row += 7)
      warp_into(out.narrow(2, row, std::min<int64_t>(7, 20 - row)).narrow(1, 3, 5), source.contiguous(format),
                flow.contiguous(format), 0.7, row);
    EXPECT_TRUE(is_close(out.narrow(1, 3, 5), want, 1e-12));
    EXPECT_EQ(out.narrow(1, 0, 3).abs().max().item<double>(), 0);
    EXPECT_EQ(out.narrow(1, 8, 1).abs().max().item<double>(), 0);
  }
  EXPECT_THROW(warp_into(at::zeros({1, 5, 21, 30}, at::kDouble), source, flow, 1, 0), c10::Error);
  EXPECT_THROW(warp_into(at::zeros({1, 5, 20, 30}), source, flow, 1, 0), c10::Error);
}

// At column 1500 float16 knows whole numbers alone: places computed in it would miss by half a pixel.
TEST_F(Film, WarpsInHalfByPlacesInFloat) {
  const at::Tensor ramp = (at::arange(2000, at::kFloat) % 4).view({1, 1, 1, 2000});
  const at::Tensor flow = at::zeros({1, 2, 1, 2000}, at::kHalf);
  flow.select(1, 0).fill_(0.25);
  const at::Tensor out = at::zeros({1, 1, 1, 2000}, at::kHalf);
  warp_into(out, ramp.to(at::kHalf), flow, 1, 0);
  EXPECT_EQ(out[0][0][0][1500].item<float>(), 0.25f);
  EXPECT_EQ(out[0][0][0][1503].item<float>(), 2.25f);  // a quarter on the way from 3 to 0
}

TEST_F(Film, DoublesAsAConvolutionOfRepeatedPixels) {
  at::manual_seed(2);
  const at::Tensor x = at::randn({1, 6, 5, 7}, at::kDouble), weight = at::randn({3, 6, 2, 2}, at::kDouble);
  const at::Tensor doubled = at::constant_pad_nd(at::upsample_nearest2d(x, {10, 14}), {0, 1, 0, 1});
  const at::Tensor want = at::conv2d(doubled, weight);
  const at::Tensor taps =
      at::matmul(x.permute({0, 2, 3, 1}), weight.permute({1, 2, 3, 0}).reshape({6, 12})).view({5, 7, 4, 3});
  for (const auto format : {at::MemoryFormat::ChannelsLast, at::MemoryFormat::Contiguous}) {
    const at::Tensor out = at::zeros({1, 3, 10, 14}, at::kDouble).contiguous(format);
    for (int64_t row = 0; row < 10; row += 3)
      double_into(out.narrow(2, row, std::min<int64_t>(3, 10 - row)), taps, row);
    EXPECT_TRUE(is_close(out, want, 1e-12));
  }
}

TEST_F(Film, NeedsAreThoseOfTheNetwork) {
  const std::map<std::string, at::Tensor> tensors = weights_of(kQuarter);
  for (const int64_t band_bytes : {int64_t(128) << 20, int64_t(2) << 20, int64_t(1) << 20}) {
    const Options options{.dtype = at::kFloat, .band_bytes = band_bytes};
    const Model network = model(tensors, options);
    const auto [first, second] = pictures(360, 500, at::kFloat);
    const Needs said = needs(kQuarter, 360, 500, options);
    CountedMemory taken;
    taken.begin();
    const int64_t before = taken.now();
    const Frame a = network.frame(first);
    EXPECT_EQ(a.bytes(), said.frame_bytes);
    const Frame b = network.frame(second);
    network.between(a, b, 0.5);
    EXPECT_NEAR(double(said.peak_bytes) / double(taken.peak() - before), 1, 0.05);
    std::printf("in bands of %.0f MB: said %.1f MB, taken %.1f MB\n", double(band_bytes) / 1e6,
                double(said.peak_bytes) / 1e6, double(taken.peak() - before) / 1e6);
  }
}

// All products of the network written out, but three quarters of the convolutions of repeated pixels.
TEST_F(Film, WorkIsThatOfTheConvolutions) {
  WrittenOut written(weights_of(kSmall), kSmall);
  const auto [first, second] = pictures(128, 64, at::kFloat);
  written(first, second, 0.5);
  const Needs said = needs(kSmall, 128, 64);
  EXPECT_NEAR((2 * said.frame_flops + said.pair_flops) / (written.flops - 0.75 * written.doubling_flops), 1, 1e-9);
}

}  // namespace wan::film
