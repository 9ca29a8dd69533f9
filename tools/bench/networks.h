// `wan-bench block`, `step`, `vae` and `t5`: whole networks on drawn weights.
#pragma once

#include "models/weights/precision.h"
#include "tools/bench/contest.h"
#include "tools/bench/drawn.h"
#include "tools/bench/ops.h"

namespace wan::bench {

/// Sizes that the tests make small.
struct NetworkSizes {
  int64_t vae_base = 96, t5_tokens = 512;
  /// Latents [16, T, h, w] of the VAE rows, by their labels; 81 frames are T = 21.
  std::vector<std::pair<std::string, std::vector<int64_t>>> latents = {{"720p", {21, 90, 160}},
                                                                       {"480p", {21, 60, 104}}};
  Umt5Shapes t5;
  /// Tokens of one frame on which a block and a step are compared with float32, as (rows, columns).
  std::pair<int64_t, int64_t> check = {30, 52};
};

/// Operations of one transformer block for one guidance branch of so many tokens, cross-attention to `text_len` keys
/// included.
double block_flops(const WanConfig& config, double tokens);
/// Of decoding latents [16, frames, height, width] at the official widths.
double decode_flops(int64_t frames, int64_t height, int64_t width);

/// One forward of a drawn transformer for so many branches of guidance, whenever it is called; what it has started when
/// it returns a GPU may still be busy with.
std::function<void()> forward_run(const Site& site, const Resolution& at, Precision precision, int64_t branches);

/// One block with fused kernels and with ATen's.
std::vector<Plan> block_plans(const Site& site, const NetworkSizes& sizes = {});
/// A forward of the transformer: one guidance branch, and both.
std::vector<Plan> step_plans(const Site& site, const NetworkSizes& sizes = {});
/// Decoding and encoding a clip.
std::vector<Plan> vae_plans(const Site& site, const NetworkSizes& sizes = {});
/// A layer of the text encoder, and all of them.
std::vector<Plan> t5_plans(const Site& site, const NetworkSizes& sizes = {});

}  // namespace wan::bench
