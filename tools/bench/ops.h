// `wan-bench ops`: the operations of the networks, ours against the libraries'.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/op/context.h"
#include "models/wan/config.h"
#include "tools/bench/contest.h"

namespace wan::bench {

/// A video as the transformer sees it.
struct Resolution {
  std::string label;
  int64_t frames, rows, columns;  // of tokens
  int64_t tokens() const { return frames * rows * columns; }
  /// "720p, 75600 tokens"
  std::string shape() const { return label + ", " + std::to_string(tokens()) + " tokens"; }
};
/// 81 frames at 480p, 580p and 720p, and 4,096 tokens.
std::vector<Resolution> real_resolutions();

/// Where and on what the operations run. The defaults are the real thing; tests take less of it on the CPU.
struct Site {
  at::Device device = at::kCUDA;
  at::ScalarType dtype = at::kBFloat16;
  WanConfig config = kWanT2vA14b;
  std::vector<Resolution> resolutions = real_resolutions();
  /// Level of the VAE: channels, height and width of frames at 720p.
  struct Level {
    int64_t channels, height, width;
  };
  std::vector<Level> levels = {{96, 720, 1280}, {192, 360, 640}, {384, 180, 320}};

  /// What the kernels on the device share.
  std::shared_ptr<const kernels::Context> context = std::make_shared<kernels::Context>();

  at::TensorOptions options() const { return at::TensorOptions(device).dtype(dtype); }
  Tensor randn(at::IntArrayRef shape) const;
  bool is_cuda() const { return device.is_cuda(); }
};

/// The kernels of one operation that may be measured on the site: with mma.sync, and with wgmma where the GPU has it
/// and the options do not leave it out. None on the CPU.
std::vector<std::pair<std::string, kernels::Instructions>> own_instructions(const Site& site);

std::vector<Plan> attention_plans(const Site& site);
std::vector<Plan> linear_plans(const Site& site);
std::vector<Plan> elementwise_plans(const Site& site);
std::vector<Plan> convolution_plans(const Site& site);
/// Storages whose blocks, scales or rotation do not divide the site's width are left out.
std::vector<Plan> coded_plans(const Site& site);
/// What a LoRA of rank 64 adds to a linear, as a branch beside it.
std::vector<Plan> lora_plans(const Site& site);
/// All of the above.
std::vector<Plan> ops_plans(const Site& site);

}  // namespace wan::bench
